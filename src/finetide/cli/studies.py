"""Verbs of the studies: curve, compare, seeds. They train beside the graph and touch none of its outputs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from finetide.cli.shared import ExampleCommand, choose_models, find_project

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

    _show(root, measure(open_bench(root, model), seeds))


def _show(root: Path, study: Study) -> None:
    from finetide.studies.show import as_lines, write

    for line in as_lines(study):
        click.echo(line)
    written = write(study, root / "studies" / study.model)
    click.echo(f"written: {', '.join(path.relative_to(root).as_posix() for path in written)}")
