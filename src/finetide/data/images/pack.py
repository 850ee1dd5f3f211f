"""A folder a class, or a manifest with the images that it names, as one zip: raw files are single files."""

from __future__ import annotations

import csv
import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

from finetide.data.images.archive import MANIFEST, SUFFIXES
from finetide.data.images.found import escapes
from finetide.data.problems import Problems
from finetide.data.text import shown
from finetide.errors import DataError

# The same for every member: equal folders give equal bytes.
EPOCH = (1980, 1, 1, 0, 0, 0)
TABLES = (".csv", ".tsv")


def is_utf8(name: str) -> bool:
    """Whether a name of the file system can be written down."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def packed(given: Path, folder: Path) -> Path:
    """``given`` as it is; or, made below ``folder``, the zip of a folder, or of a manifest and its images.

    A table with a column ``row_id`` brings late labels, and stays as it is.

    Raises: DataError for links that lead out of the folder, and paths of a manifest that do or that are not there.
    """
    if given.is_dir():
        return _zipped(folder / f"{given.resolve().name}.zip", list(_below(given)))
    if given.suffix.lower() not in TABLES or not given.is_file():
        return given
    named = _named(given)
    if named is None:
        return given
    return _zipped(folder / f"{given.stem}.zip", [(MANIFEST, given), *named])


def _below(folder: Path) -> Iterator[tuple[str, Path]]:
    root = folder.resolve()
    problems = Problems(
        str(folder), "cannot be packed", fix="rename such files, and put the files themselves where links are"
    )
    found = []
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if any(part.startswith(".") for part in inside.parts):
            continue
        if not is_utf8(inside.as_posix()):
            problems.add(None, f"{shown(os.fsencode(inside).decode(errors='replace'))} has a name that is not UTF-8")
        elif not path.resolve().is_relative_to(root):
            problems.add(None, f"{shown(inside.as_posix())} is a link that leads out of the folder")
        elif path.is_file():
            found.append((inside.as_posix(), path))
    problems.raise_if_any()
    if not found:
        raise DataError("is a folder without images", where=str(folder), fix="name a folder with a folder a label")
    yield from found


def _named(manifest: Path) -> list[tuple[str, Path]] | None:
    """The images that any column of the manifest names: the column is chosen later. None for a table of late labels.

    Raises: DataError: a path leads out of the manifest's folder.
    """
    text = manifest.read_bytes().decode("utf-8-sig", errors="replace")
    rows = list(csv.reader(io.StringIO(text), delimiter="\t" if manifest.suffix.lower() == ".tsv" else ","))
    if not rows or "row_id" in rows[0]:
        return None
    root = manifest.parent.resolve()
    problems = Problems(manifest.name, "names images that are refused", fix="put them below the manifest's folder")
    found: dict[str, Path] = {}
    for line, row in enumerate(rows[1:], start=2):
        for cell in row:
            if not cell.lower().endswith(SUFFIXES):
                continue
            path = root / cell
            if escapes(cell) or (path.exists() and not path.resolve().is_relative_to(root)):
                problems.add(line, f"{shown(cell)} leads out of the folder")
            elif path.is_file():
                found[cell] = path
            else:
                problems.add(line, f"{shown(cell)} is not there")
    problems.raise_if_any()
    if not found:
        raise DataError("names no image", where=str(manifest), fix="one column must hold paths of images")
    return sorted(found.items())


def _zipped(target: Path, members: list[tuple[str, Path]]) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, path in members:
            info = zipfile.ZipInfo(name, EPOCH)
            info.external_attr = 0o644 << 16
            archive.writestr(info, path.read_bytes())
    return target
