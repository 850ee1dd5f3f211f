"""Verbs of a machine that works by itself: up, down."""

from __future__ import annotations

import click

from finetide.cli.shared import ExampleCommand, find_project


@click.command(cls=ExampleCommand, epilog="finetide up\nfinetide up --port 4300")
@click.option(
    "--port", type=click.IntRange(1, 65535), help="Of the server; else that of the last time, 4200, or a free one."
)
def up(port: int | None) -> None:
    """Start Prefect's server and a worker for this project, with the schedules of params.yaml, and wait until they are
    healthy. With PREFECT_API_URL set that server is used; with PREFECT_SERVER_DATABASE_CONNECTION_URL set, ours keeps
    its state in that Postgres. What is up already stays up."""
    from finetide.operate.up import up as start

    start(find_project(), port, click.echo)


@click.command(cls=ExampleCommand, epilog="finetide down")
def down() -> None:
    """Stop what `finetide up` started here, runs at work included; nothing that was finished is lost."""
    from finetide.operate.up import down as stop

    stop(find_project(), click.echo)
