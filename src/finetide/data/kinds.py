"""What the stages before any model ask of a family: literal tables, imported on use.

A family's task (`finetide.task.Task`) needs torch; ingest, validate and split must not. So each of them finds its part
of the family here, and only that part counts as the stage's code (`finetide.pipeline.codelock`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from finetide.task import entry, imported

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from finetide.config.base import Section
    from finetide.contracts.window import Window
    from finetide.data.ingest import Examined, Ingested
    from finetide.data.quality import Asked, Quality
    from finetide.data.split import Texts

KINDS: dict[str, dict[str, str]] = {
    "text-classification": {
        "ingest": "finetide.data.ingest:SOURCE",
        "validate": "finetide.data.quality:CHECKS",
        "split": "finetide.data.split:CONTENTS",
    },
    "image-classification": {
        "ingest": "finetide.data.images.reading:SOURCE",
        "validate": "finetide.data.images.checks:CHECKS",
        "split": "finetide.data.images.contents:CONTENTS",
    },
    "question-answering": {
        "ingest": "finetide.data.questions.reading:SOURCE",
        "validate": "finetide.data.questions.checks:CHECKS",
        "split": "finetide.data.questions.contents:CONTENTS",
    },
}


class Source(Protocol):
    """For ingest, and for who looks at files before. ``schema``: of the table of rows, the common columns first;
    ``params``: the section of params.yaml; ``suffixes``: endings of raw files, lower case."""

    schema: pa.Schema
    params: type[Section]
    suffixes: tuple[str, ...]

    def ingest(self, window: Window, raw: Path, params: Any, store: Path | None) -> Ingested:
        """The window's files as one table. Args: store: where content goes that is too large for a table of rows;
        None where the graph has no place for it."""

    def examine(self, path: Path, name: str, params: Any) -> Examined:
        """Read a file that is about to be taken in. Raises: DataError."""

    def pack(self, given: Path, folder: Path) -> Path:
        """The one raw file for what a person gives: ``given`` itself, or a file made of it below ``folder``.

        Raises: DataError for what cannot be packed.
        """


class Checks(Protocol):
    """For validate."""

    schema: pa.Schema
    params: type[Section]

    def assess(self, rows: pd.DataFrame, asked: Asked) -> Quality:
        """All checks of the rows."""


class Contents(Protocol):
    """For split. ``shows``: the column that a person reads; ``words``: what one content is called, what several are,
    and what near ones do."""

    schema: pa.Schema
    shows: str
    words: tuple[str, str, str]

    def of(self, rows: pd.DataFrame) -> Texts:
        """Which rows are the same, and which nearly."""


def source(task: str) -> Source:
    return imported(entry(KINDS, task)["ingest"])  # type: ignore[no-any-return]


def checks(task: str) -> Checks:
    return imported(entry(KINDS, task)["validate"])  # type: ignore[no-any-return]


def contents(task: str) -> Contents:
    return imported(entry(KINDS, task)["split"])  # type: ignore[no-any-return]
