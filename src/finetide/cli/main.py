"""The group of all verbs, and the one place where an error becomes an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from typing import Any

import click

from finetide import __version__
from finetide.cli.bases import base
from finetide.cli.labels import label_requests
from finetide.cli.life import advance, approve, exclude, history, promote, reject, rollback, why
from finetide.cli.new import adopt, init
from finetide.cli.operate import down, up
from finetide.cli.project import check, explain, report, run, stage, status
from finetide.cli.serve import predict, sign, verify
from finetide.cli.studies import compare, curve, layers, rate, seeds, tune
from finetide.errors import FinetideError, of_system

# As a shell tells the end by SIGPIPE: `finetide check | head -1`.
NOBODY_READS = 141
EPILOG = """Exit codes: 0 done (also when nothing was to be done), 2 wrong input, 3 a gate or the judge said no,
4 another run is at work, 5 git, DVC or a database failed, 6 bytes differ from their hash, 7 the machine refused."""


class ReaderGoneError(Exception):
    """What we say goes into a pipe that nobody reads any more."""


class Verbs(click.Group):
    """Click would end with 1, which here means a bug, when whoever read the output has gone."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _told_apart():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        with _told_apart():
            return super().invoke(ctx)


@contextmanager
def _told_apart() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise ReaderGoneError from error


@click.group(
    cls=Verbs, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="finetide")
def cli() -> None:
    """Keeps fine-tuned models true to data that moves.

    New data is validated, its shift is measured, the model is fine-tuned, compared with the one in service,
    exported to ONNX and promoted. Every verb answers to --help, with examples.
    """


for command in (
    init, adopt, base, check, explain, run, stage, status, report,
    advance, promote, rollback, exclude, history, why, approve, reject,
    up, down,
    predict, verify, sign, label_requests,
    curve, compare, seeds, layers, tune, rate,
):  # fmt: skip
    cli.add_command(command)


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the ``finetide`` script; always ends the process."""
    # Threads that spin long while they wait make a training step ten times slower when others use the cores too
    # (docs/lab-log.md). Read once, when torch loads its OpenMP library; it changes no number.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal that has no ✓ shows a question mark
            stream.reconfigure(errors="replace")
    try:
        sys.exit(_code(arguments))
    except (ReaderGoneError, BrokenPipeError):
        _fall_silent()
        sys.exit(NOBODY_READS)


def _code(arguments: list[str] | None) -> int:
    try:
        code = cli.main(args=arguments, prog_name="finetide", standalone_mode=False)
    except ReaderGoneError:
        raise
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        return 130
    except Exception as error:
        return _ended_by(error)
    return code if isinstance(code, int) else 0


def _fall_silent() -> None:
    """What is still in the buffers would be written at the end, and fail again, with words of Python's own."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # replaced by somebody, e.g. a test
            os.dup2(nowhere, stream.fileno())


def _ended_by(error: Exception) -> int:
    """Say what went wrong; a traceback only for what no person can mend."""
    known = error if isinstance(error, FinetideError) else of_system(error)
    if isinstance(known, FinetideError):
        click.echo(f"error: {known}", err=True)
        return known.exit_code
    click.echo(f"{traceback.format_exc()}\nThis is a bug in Finetide {__version__}, not in your data.", err=True)
    return 1
