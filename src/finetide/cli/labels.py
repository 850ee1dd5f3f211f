"""Verbs about labels: label-requests."""

from __future__ import annotations

from pathlib import Path

import click

from finetide.cli.shared import ExampleCommand, check_target, choose_models, find_project


@click.command(
    "label-requests",
    cls=ExampleCommand,
    epilog="finetide label-requests tickets\nfinetide label-requests tickets --rows 50 --output to-label.csv",
)
@click.argument("model")
@click.option("--output", "target", type=click.Path(path_type=Path), help="CSV; else label-requests-MODEL.csv here.")
@click.option("--rows", type=click.IntRange(min=1), help="How many; else shift.recipe.ask_labels of params.yaml.")
def label_requests(model: str, target: Path | None, rows: int | None) -> None:
    """Write the incoming rows whose labels would tell most as a CSV to fill in.

    A row is worth the more, the less sure the champion is of it, the more it looks like incoming and unlike reference
    rows, and the further it lies from rows that are chosen or labelled already. Images lie in a folder beside the
    table. Fill in the empty column, leave what you do not know empty, and drop the file back: finetide advance MODEL
    FILE. Labels join by row id.
    """
    from finetide.config.params import model_params
    from finetide.lifecycle.isolate import place_of_arrivals
    from finetide.lifecycle.label_requests import request

    root = find_project()
    choose_models(root, model)
    path = target or Path(f"label-requests-{model}.csv")
    check_target(path)
    place = place_of_arrivals(root, model)
    written, without = request(place, model, path, rows)
    click.echo(f"{model}: {written} of {without} incoming rows without a label in {path}")
    back = f"finetide advance {model} {path}"
    if place != root:  # the rows came in by a schedule, and so do their labels
        back = f"copy it to {model_params(root, model).schedule.drop}"
    click.echo(f"  next: fill in the last column, then: {back}")
