"""Verbs about a project that is there: check, explain, run, stage, status, report."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import click

from finetide.cli.shared import ExampleCommand, check_parent, check_target, choose_models, find_project, note, one_of
from finetide.errors import ConfigError, FinetideError, InputError, ProjectError, of_system


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
        named = result.detail.startswith((f"{result.what}: ", f"{result.what}, "))  # a file says its name itself
        click.echo(f"{marks[result.mark]} {result.detail if named else f'{result.what}: {result.detail}'}")
    if failed:
        click.echo(f"{failed} of the checks failed", err=True)
        raise SystemExit(2)


@click.command(cls=ExampleCommand, epilog="finetide run\nfinetide run tickets")
@click.argument("model", required=False)
def run(model: str | None) -> None:
    """Take in what is new, run what is stale, and promote what the judge lets pass; all models without MODEL."""
    from finetide.lifecycle.run import run_model
    from finetide.operate.notices import announced
    from finetide.pipeline.dvc import run_lock

    root = find_project()
    names, code = choose_models(root, model), 0
    with run_lock(root) as repaired:
        for line in repaired:
            click.echo(line, err=True)
        for name in names:
            with announced(root, name, note):
                code = max(code, run_model(root, name, click.echo).exit_code)
    raise SystemExit(code)


@click.command(cls=ExampleCommand, epilog="finetide stage validate tickets")
@click.argument("name")
@click.argument("model")
def stage(name: str, model: str) -> None:
    """Run one stage in this process; dvc.yaml calls this."""
    from importlib import import_module

    from finetide.config.graph import stage_files, stage_names
    from finetide.config.stage import Stage
    from finetide.files import sweep
    from finetide.pipeline import codelock, dvc, journal

    dvc.die_with_parent()
    dvc.require_run()
    root = find_project()
    choose_models(root, model)
    if name not in stage_names(root):
        raise InputError("unknown stage", where="dvc.yaml", found=name, fix=f"one of {one_of(name, stage_names(root))}")
    started = time.monotonic()
    try:
        codelock.require_fresh(root, name, model)
        for folder in {path.parent for path in stage_files(root, name, model).outs.values()}:
            sweep(root / folder)
        import_module(f"finetide.stages.{name}").run(Stage.open(root, name, model))
    except BaseException as error:
        known = _known(error, root, name, model)
        exit_code = known.exit_code if known else 1
        seconds = round(time.monotonic() - started, 2)
        with suppress(OSError):  # on a full disk the error itself says more
            journal.append(
                root, model, stage=name, state="failed", seconds=seconds, exit=exit_code, error=str(known or error)
            )
        if known is not None and known is not error:
            raise known from error
        raise
    journal.append(root, model, stage=name, state="ran", seconds=round(time.monotonic() - started, 2))


def _known(error: BaseException, root: Path, stage: str, model: str) -> FinetideError | None:
    """What no library says of a full disk: whose files were being written."""
    from finetide.config.graph import stage_files

    if isinstance(error, FinetideError):
        return error.of_model(model)
    folders = sorted({path.parent.as_posix() for path in stage_files(root, stage, model).outs.values()})
    return of_system(error, where=f"stage {stage}@{model}, which writes to {', '.join(folders)} and .finetide")


@click.command(cls=ExampleCommand, epilog="finetide status\nfinetide status tickets --json")
@click.argument("model", required=False)
@click.option("--json", "as_json", is_flag=True, help="Machine-readable; the schema is in docs/status-schema.md.")
def status(model: str | None, as_json: bool) -> None:
    """What is in service, how the last run ended, and what is stale."""
    from finetide.lifecycle.status import as_lines, read_status

    root = find_project()
    models = choose_models(root, model)
    found = read_status(root, models)
    if as_json:
        click.echo(json.dumps(found.model_dump(mode="json", by_alias=True), ensure_ascii=False, indent=2))
    else:
        for line in as_lines(root, found):
            click.echo(line)
    for one in models:
        _say_what_stops(root, one)


def _say_what_stops(root: Path, model: str) -> None:
    """Nothing is stale by a setting that is wrong, so the next run would come as a surprise."""
    from finetide.config.params import model_params

    try:
        model_params(root, model)
    except ConfigError as error:
        click.echo(f"{model}: the next run will stop at this:\n  {error}", err=True)


@click.command(
    cls=ExampleCommand,
    epilog="finetide report tickets\nfinetide report tickets --output report.html\nfinetide report --site public",
)
@click.argument("model", required=False)
@click.option("--output", type=click.Path(path_type=Path), help="Where to write; else .finetide/reports/MODEL.html.")
@click.option(
    "--site", type=click.Path(path_type=Path), help="Write a folder of pages: all models, or MODEL, with their history."
)
def report(model: str | None, output: Path | None, site: Path | None) -> None:
    """Write one self-contained HTML page on the last run: data, shift, curves, metrics, parity, decision."""
    if site is not None:
        _site(model, output, site)
        return
    if model is None:
        raise click.UsageError("Missing argument 'MODEL', or --site DIR for all models.")
    from finetide.files import write_text
    from finetide.lifecycle import outputs
    from finetide.pipeline import journal
    from finetide.report import build, report_path

    root = find_project()
    choose_models(root, model)
    if not journal.read(root, model) and outputs.ingest(root, model) is None:
        raise ProjectError("nothing was run yet", where=model, fix=f"finetide run {model}")
    target = output or report_path(root, model)
    if output is not None:
        check_target(output)
    write_text(target, build(root, model))
    click.echo(f"report: {target}")


def _site(model: str | None, output: Path | None, folder: Path) -> None:
    from finetide.lifecycle.site import write

    if output is not None:
        raise InputError("names one page, and --site a folder of them", where="--output", fix="give one of the two")
    if folder.exists() and not folder.is_dir():
        raise InputError("is a file", where=str(folder), fix="--site takes the name of a folder")
    check_parent(folder, "--site")
    root = find_project()
    for path in write(root, choose_models(root, model), folder):
        click.echo(f"written: {path}")


@click.command(
    cls=ExampleCommand,
    epilog="""
    finetide explain train.max_length
    finetide explain shift
    """,
)
@click.argument("key", default="")
def explain(key: str) -> None:
    """What a setting of params.yaml means, its type, range and unit; in a project, its present value a model and the
    stages that read it. Without KEY, all of them."""
    from finetide.config import explain as explaining

    for one in explaining.explain(key):
        kind = f" (phases of kind {one.phase})" if one.phase else f" (task {one.task})" if one.task else ""
        unit = explaining.unit(one)
        said = f"\n    unit: {unit}" if unit else ""
        click.echo(f"{one.key}{kind}: {one.type.replace('`', '')}\n    {one.meaning}{said}")
        for line in _of_project(one.key):
            click.echo(f"    {line}")


def _of_project(key: str) -> Iterator[str]:
    """Present values and readers; nothing outside a project."""
    from finetide.config import explain as explaining
    from finetide.config.graph import GRAPH_FILE
    from finetide.config.load import PARAMS_FILE, model_names, read_yaml

    try:
        root = find_project()
    except ProjectError:
        return
    document, graph = read_yaml(root / PARAMS_FILE), read_yaml(root / GRAPH_FILE)
    for model in model_names(root):
        for path, value in explaining.present(document, model, key):
            yield f"now: {path} = {json.dumps(value, ensure_ascii=False)}"
    read_by = explaining.readers(graph, key)
    yield f"read by: {', '.join(read_by) if read_by else 'no stage; finetide run itself'}"
