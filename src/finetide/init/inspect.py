"""Looks at the user's files before anything is written, so that a wrong column costs seconds and leaves nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from finetide.config.ingest import ColumnParams
from finetide.contracts.rows import Role
from finetide.data.readers import read_table
from finetide.errors import DataError, InputError

# A tune phase starts with about this many characters of text seen: some minutes on two cores.
TUNE_CHARACTERS = 1_600_000
CHARACTERS_KEPT = 512  # of a text, about 128 tokens


@dataclass(frozen=True)
class Inspection:
    """Rows and labels seen in all files together; ``epochs`` is what a tune phase of this size starts with."""

    rows: int
    labels: tuple[str, ...]
    epochs: int
    why_epochs: str


def inspect(reference: Sequence[Path], incoming: Sequence[Path], columns: ColumnParams, encoding: str) -> Inspection:
    """Read every file as ingest will.

    Raises:
        InputError: two files of one name. DataError: whatever ingest would refuse.
    """
    names: dict[str, Path] = {}
    for path in [*reference, *incoming]:
        if path.is_dir():
            raise DataError("is a folder", where=str(path), fix="give --reference and --incoming files")
        if not path.is_file():
            raise DataError("no such file", where=str(path), fix="give --reference and --incoming existing files")
        if path.name in names and names[path.name].resolve() == path.resolve():
            raise InputError("is given twice", where=str(path), fix="give it once, as --reference or as --incoming")
        if path.name in names:
            raise InputError(
                f"two files are named {path.name!r}", where=str(path), fix="rename one: all go to one folder"
            )
        names[path.name] = path
    rows = characters = 0
    labels: set[str] = set()
    roles: list[tuple[Role, Sequence[Path]]] = [("reference", reference), ("incoming", incoming)]
    for role, paths in roles:
        for path in paths:
            table = read_table(path, name=path.name, columns=columns, encoding=encoding, role=role)
            rows += len(table)
            characters += int(table["text"].str.len().clip(upper=CHARACTERS_KEPT).sum())
            if role == "reference":
                labels.update(label for label in table["label"] if isinstance(label, str))
    if len(labels) < 2:
        raise DataError(
            f"the reference rows have {len(labels)} label(s), and a model needs at least two to tell apart",
            where=", ".join(str(path) for path in reference),
            found=columns.label,
            fix="check --label: it names the column with the label",
        )
    epochs = max(1, min(8, round(TUNE_CHARACTERS / max(characters, 1))))
    return Inspection(rows, tuple(sorted(labels)), epochs, f"{rows} rows of {characters // max(rows, 1)} characters")
