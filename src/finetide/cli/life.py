"""Verbs of the life cycle: advance, promote, rollback, exclude, history, why, approve, reject."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import click

from finetide.cli.shared import ExampleCommand, choose_models, find_project, note


@click.command(cls=ExampleCommand, epilog="finetide advance tickets\nfinetide advance tickets week-47.csv")
@click.argument("model")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
def advance(model: str, files: tuple[Path, ...]) -> None:
    """Enter new data: FILES are copied to data/MODEL/raw, versioned by DVC, and the window is computed anew."""
    from finetide.lifecycle.prepare import advance_window
    from finetide.pipeline.dvc import run_lock

    root = find_project()
    choose_models(root, model)
    with run_lock(root) as repaired:  # a run works on the window that it began with
        lines = [*repaired, *advance_window(root, model, files)]
    for line in lines or [f"{model}: nothing new; the window stays as it is"]:
        click.echo(line)


@click.command(cls=ExampleCommand, epilog='finetide promote tickets\nfinetide promote tickets --force --why "outage"')
@click.argument("model")
@click.option("--force", is_flag=True, help="Promote although the judge said no; needs --why.")
@click.option("--why", help="The reason, for the ledger.")
def promote(model: str, force: bool, why: str | None) -> None:
    """Put the judged challenger in service (after a plain `dvc repro`; `finetide run` does it by itself)."""
    from finetide.lifecycle.conclude import promote_challenger
    from finetide.operate.notices import announced

    root = find_project()
    choose_models(root, model)
    with announced(root, model, note):
        click.echo(promote_challenger(root, model, force=force, why=why))


@click.command(cls=ExampleCommand, epilog="finetide rollback tickets\nfinetide rollback tickets --to v1")
@click.argument("model")
@click.option("--to", "version", help="A version that was in service; without it the one before.")
@click.option("--why", default="rolled back by hand", show_default=True, help="The reason, for the ledger.")
def rollback(model: str, version: str | None, why: str) -> None:
    """Put an earlier version back in service; the one left is withdrawn and never promoted again."""
    from finetide.lifecycle.conclude import roll_back
    from finetide.operate.notices import announced

    root = find_project()
    choose_models(root, model)
    with announced(root, model, note):
        click.echo(roll_back(root, model, version, why))


@click.command(cls=ExampleCommand, epilog='finetide exclude tickets week-47.csv --why "labels swapped"')
@click.argument("model")
@click.argument("file")
@click.option("--why", required=True, help="The reason, for the ledger.")
def exclude(model: str, file: str, why: str) -> None:
    """Keep FILE out of this and all later windows; its bytes stay where they are."""
    from finetide.lifecycle.prepare import exclude_file
    from finetide.pipeline.dvc import run_lock

    root = find_project()
    choose_models(root, model)
    with run_lock(root) as repaired:
        said = exclude_file(root, model, file, why)
    for line in [*repaired, said]:
        click.echo(line)


@click.command(cls=ExampleCommand, epilog="finetide history tickets\nfinetide history --json")
@click.argument("model", required=False)
@click.option("--json", "as_json", is_flag=True, help="The ledger's entries as they are.")
@click.option("--at", help="What was in service at this time (ISO 8601, UTC).")
def history(model: str | None, as_json: bool, at: str | None) -> None:
    """The ledger: what was promoted, rejected, rolled back, when, why, by whom."""
    from finetide.lifecycle.history import as_lines, entries_of, service_at

    root = find_project()
    names = choose_models(root, model)
    if at is not None:
        for name in names:
            click.echo(service_at(root, name, at))
        return
    found = {name: entries_of(root, name) for name in names}
    if as_json:
        plain = {name: [entry.model_dump(mode="json") for entry in entries] for name, entries in found.items()}
        click.echo(json.dumps({"schema": 1, "models": plain}, ensure_ascii=False, indent=2))
        return
    for name, entries in found.items():
        for line in as_lines(name, entries):
            click.echo(line)


@click.command(cls=ExampleCommand, epilog="finetide why tickets")
@click.argument("model")
def why(model: str) -> None:
    """One chain from rows to decision: files, what each stage found, what was decided, what is in service."""
    from finetide.lifecycle.why import chain

    root = find_project()
    choose_models(root, model)
    for line in chain(root, model):
        click.echo(line)


@click.command(cls=ExampleCommand, epilog='finetide approve tickets --why "new country, shift expected"')
@click.argument("model")
@click.option("--why", required=True, help="The reason, for the ledger.")
@click.option("--who", help="Who decides; else git's user.")
def approve(model: str, why: str, who: str | None) -> None:
    """Say yes to what waits: exactly these verdicts pass the gate, or this challenger goes into service."""
    root = find_project()
    choose_models(root, model)
    _decide(root, model, "approved", why, who)


@click.command(cls=ExampleCommand, epilog='finetide reject tickets --why "the new labels are wrong"')
@click.argument("model")
@click.option("--why", required=True, help="The reason, for the ledger.")
@click.option("--who", help="Who decides; else git's user.")
def reject(model: str, why: str, who: str | None) -> None:
    """Say no to what waits: the gate stays shut, or this challenger stays out of service."""
    root = find_project()
    choose_models(root, model)
    _decide(root, model, "rejected", why, who)


def _decide(root: Path, model: str, decision: Literal["approved", "rejected"], why: str, who: str | None) -> None:
    """About the verdicts of a scheduled run that waits, if one does, which then goes on; else about those here."""
    from finetide.lifecycle.conclude import decide
    from finetide.lifecycle.waiting import place_of_decision
    from finetide.operate.resume import resume

    place = place_of_decision(root, model)
    said = decide(place, model, decision, why, who)
    if place == root:
        click.echo(said)
        return
    click.echo(said.partition("; next: ")[0])
    click.echo(resume(root, model, decision, why, who))
