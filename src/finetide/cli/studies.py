"""Verbs of the studies: they train beside the graph and touch none of its outputs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from finetide.cli.shared import ExampleCommand, choose_models, find_project, of_model

if TYPE_CHECKING:
    from finetide.contracts.study import Study


@click.command(cls=ExampleCommand, epilog="finetide curve tickets\nfinetide curve tickets --shares 0.1,0.5 --seeds 3")
@click.argument("model")
@click.option(
    "--shares", default="0.01,0.05,0.1,0.3,1", show_default=True,
    help="Of the training labels, each above 0 and at most 1; all of them come last in any case.",
)  # fmt: skip
@click.option(
    "--seeds", type=click.IntRange(min=1), default=1, show_default=True,
    help="Repeats, each with its own choice of labels.",
)  # fmt: skip
def curve(model: str, shares: str, seeds: int) -> None:
    """How good with how many labels: fine-tuned, probe, from scratch, zero-shot; into studies/MODEL."""
    from finetide.studies.subsets import parse_shares

    root = find_project()
    choose_models(root, model)
    wanted = parse_shares(shares)

    from finetide.studies.bench import open_bench
    from finetide.studies.curve import measure

    with of_model(model):
        _show(root, measure(open_bench(root, model), wanted, seeds))


@click.command(cls=ExampleCommand, epilog="finetide compare tickets\nfinetide compare tickets --seeds 3")
@click.argument("model")
@click.option("--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="Repeats of each training.")
def compare(model: str, seeds: int) -> None:
    """Fine-tuning from base, champion and random weights, beside probe and zero-shot; into studies/MODEL."""
    root = find_project()
    choose_models(root, model)

    from finetide.studies.bench import open_bench
    from finetide.studies.compare import measure

    with of_model(model):
        _show(root, measure(open_bench(root, model, with_champion=True), seeds))


@click.command(cls=ExampleCommand, epilog="finetide seeds tickets\nfinetide seeds tickets --seeds 3")
@click.argument("model")
@click.option(
    "--seeds", type=click.IntRange(min=2), default=5, show_default=True,
    help="So many, from the model's own seed upwards.",
)  # fmt: skip
def seeds(model: str, seeds: int) -> None:
    """The model's training with several seeds: mean, spread, and which of them collapsed; into studies/MODEL."""
    root = find_project()
    choose_models(root, model)

    from finetide.studies.bench import open_bench
    from finetide.studies.seeds import measure

    with of_model(model):
        _show(root, measure(open_bench(root, model), seeds))


@click.command(
    cls=ExampleCommand,
    epilog="finetide layers tickets\nfinetide layers tickets --policies last:2,lora:16,full --shares 1 --seeds 3",
)
@click.argument("model")
@click.option(
    "--policies", default="head,last:1,last:2,last:4,lora,full", show_default=True,
    help="As layers in params.yaml, name:value for {name: value}; of lora, rslora and dora the value is the rank.",
)  # fmt: skip
@click.option(
    "--shares", default="0.1,0.3,1", show_default=True, help="Of the training labels, each above 0 and at most 1."
)
@click.option(
    "--seeds", type=click.IntRange(min=1), default=1, show_default=True,
    help="Repeats, each with its own choice of labels.",
)  # fmt: skip
def layers(model: str, policies: str, shares: str, seeds: int) -> None:
    """Which layers to tune with how many labels, and where tuning more overfits; into studies/MODEL."""
    from finetide.studies.policies import parse_policies
    from finetide.studies.subsets import parse_shares

    root = find_project()
    choose_models(root, model)
    tried, wanted = parse_policies(policies), parse_shares(shares)

    from finetide.studies.bench import open_bench
    from finetide.studies.depth import measure

    with of_model(model):
        _show(root, measure(open_bench(root, model), tried, wanted, seeds))


@click.command(
    cls=ExampleCommand, epilog="finetide tune tickets --trials 30\nfinetide tune tickets --minutes 60 --dry-run"
)
@click.argument("model")
@click.option(
    "--trials", type=click.IntRange(min=2), default=20, show_default=True,
    help="So many in all, those of an earlier call with the same data and settings included.",
)  # fmt: skip
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="No trial begins later than this.")
@click.option("--dry-run", is_flag=True, help="Show the change of params.yaml and do not write it.")
def tune(model: str, trials: int, minutes: float | None, dry_run: bool) -> None:
    """Search learning rate, layers and length of the last tune phase; write the best into params.yaml."""
    root = find_project()
    choose_models(root, model)

    from finetide.config import edit
    from finetide.studies import search_page
    from finetide.studies.bench import open_bench
    from finetide.studies.search import changes, search
    from finetide.studies.show import lines_of

    with of_model(model):
        bench = open_bench(root, model)
        found = search(bench, trials, minutes)
    for line in lines_of(search_page.sheet(found)):
        click.echo(line)
    written = search_page.write(found, root / "studies" / model)
    click.echo(f"written: {', '.join(path.relative_to(root).as_posix() for path in written)}")
    wanted = changes(bench, found)
    if not wanted:
        click.echo("params.yaml: nothing to change")
        return
    after, difference = edit.edited(root, wanted)
    click.echo(difference, nl=False)
    if dry_run:
        click.echo("params.yaml: not written (--dry-run)")
    else:
        edit.write(root, after)
        click.echo(f"params.yaml: written; look at it (git diff params.yaml), then finetide run {model}")


@click.command(cls=ExampleCommand, epilog="finetide rate tickets")
@click.argument("model")
@click.option(
    "--steps", type=click.IntRange(min=1), default=100, show_default=True, help="Optimizer steps of the test."
)
def rate(model: str, steps: int) -> None:
    """Raise the learning rate from step to step and show where the loss falls fastest; nothing else is changed."""
    root = find_project()
    choose_models(root, model)

    from finetide.studies import search_page
    from finetide.studies.bench import open_bench
    from finetide.studies.search import rate_test
    from finetide.studies.show import lines_of, write_sheet

    with of_model(model):
        shown = search_page.rate_sheet(model, *rate_test(open_bench(root, model), steps))
    for line in lines_of(shown):
        click.echo(line)
    written = write_sheet(shown, root / "studies" / model, "rate")
    click.echo(f"written: {', '.join(path.relative_to(root).as_posix() for path in written)}")


def _show(root: Path, study: Study) -> None:
    from finetide.studies.show import as_lines, write

    for line in as_lines(study):
        click.echo(line)
    written = write(study, root / "studies" / study.model)
    click.echo(f"written: {', '.join(path.relative_to(root).as_posix() for path in written)}")
