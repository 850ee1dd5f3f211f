"""A zip of a folder a class, or of images with a ``manifest.csv`` → images."""

from __future__ import annotations

import stat
import tempfile
import zipfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from finetide.config.images import ImageColumnParams
from finetide.data.images.found import Found, escapes
from finetide.data.problems import Problems
from finetide.data.readers import as_list, as_strings, without_empty
from finetide.data.records import Records, read_records
from finetide.data.text import nearest, shown
from finetide.errors import DataError

MANIFEST = "manifest.csv"
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
# Of one member, unpacked: no image file is larger, and a bomb is.
MAX_BYTES = 256 << 20
# What file managers and version control leave in folders.
_CLUTTER = ("__MACOSX", "Thumbs.db", "desktop.ini", "README.md", "README.txt", "LICENSE", "LICENSE.txt")
SPLIT_FOLDERS = ("train", "training", "validation", "valid", "val", "dev", "test")


def read_zip(path: Path, name: str, columns: ImageColumnParams, encoding: str) -> Iterator[Found]:
    """Raises: DataError for a damaged archive, members that lead out of it, and what has no place in one."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(archive, name)
            if MANIFEST in members:
                yield from _listed(archive, members, name, columns, encoding)
            else:
                yield from _folders(archive, members, name)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise DataError(
            f"is a damaged zip file, or none: {error}", where=name, fix="copy or download the file again"
        ) from error


def _members(archive: zipfile.ZipFile, name: str) -> dict[str, zipfile.ZipInfo]:
    """Path → member, by path, folders and clutter left out."""
    problems = Problems(name, "has members that are refused", fix="take them out of the archive, and pack it again")
    found: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        path = info.filename
        parts = PurePosixPath(path.replace("\\", "/")).parts  # as some systems would unpack it
        if (
            info.is_dir()
            or not parts
            or any(part in _CLUTTER or part.startswith(".") for part in parts if part != "..")
        ):
            continue
        if escapes(path):
            problems.add(None, f"{shown(path)} leads out of the archive")
        elif stat.S_ISLNK(info.external_attr >> 16):
            problems.add(None, f"{shown(path)} is a link")
        elif info.flag_bits & 1:
            problems.add(None, f"{shown(path)} is encrypted")
        elif info.file_size > MAX_BYTES:
            problems.add(None, f"{shown(path)} unpacks to {info.file_size:,} bytes")
        elif path in found:
            problems.add(None, f"{shown(path)} is there twice")
        else:
            found[path] = info
    problems.raise_if_any()
    if not found:
        raise DataError("holds no image", where=name, fix="put images into it, a folder a label, or leave it out")
    return dict(sorted(found.items()))


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """What is damaged inside the archive is an image that cannot be decoded, no reason to refuse all others."""
    try:
        return archive.read(info)
    except (zipfile.BadZipFile, zlib.error, EOFError):
        return b"damaged inside the archive"


def _folders(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], name: str) -> Iterator[Found]:
    """``[TOP/][SPLIT/]LABEL/…/IMAGE``: the last folder but for deeper ones of one label's is the label."""
    problems = Problems(
        name, "is no folder a label", fix=f"put every image into a folder named by its label, or add a {MANIFEST}"
    )
    strangers = [path for path in members if PurePosixPath(path).suffix.lower() not in SUFFIXES]
    for path in members:
        if path in strangers:
            problems.add(None, f"{shown(path)} is no image ({', '.join(SUFFIXES)})")
    skip = _shared_top(list(members))
    for path in members:
        if len(PurePosixPath(path).parts) - skip < 2:
            problems.add(None, f"{shown(path)} lies in no label's folder")
    problems.raise_if_any()
    _refuse_half_splits(members, name, skip)
    split = _are_splits({PurePosixPath(path).parts[skip] for path in members}, list(members), skip)
    for place, (path, info) in enumerate(members.items(), start=1):
        parts = PurePosixPath(path).parts[skip:]
        label, side = (parts[1], parts[0]) if split else (parts[0], None)
        yield Found(place, path, _read(archive, info), label, side)


def _shared_top(paths: Sequence[str]) -> int:
    """How many folders all paths begin with, without taking an only label for one."""
    parts = [PurePosixPath(path).parts for path in paths]
    shared = 0
    while all(len(one) > shared + 2 for one in parts) and len({one[shared] for one in parts}) == 1:
        if parts[0][shared].lower() in SPLIT_FOLDERS:
            break
        shared += 1
    return shared


def _are_splits(tops: set[str], paths: Sequence[str], skip: int) -> bool:
    """All folders at the top are called like splits, and labels lie below."""
    deep = all(len(PurePosixPath(path).parts) - skip > 2 for path in paths)
    return deep and all(top.lower() in SPLIT_FOLDERS for top in tops)


def _refuse_half_splits(members: Collection[str], name: str, skip: int) -> None:
    """Raises: DataError: labels lie below folders of which some are called like splits, and others are not."""
    parts = [PurePosixPath(path).parts[skip:] for path in members]
    tops = sorted({one[0] for one in parts})
    sides = [top for top in tops if top.lower() in SPLIT_FOLDERS]
    others = [top for top in tops if top.lower() not in SPLIT_FOLDERS]
    if not sides or not others or not all(len(one) > 2 for one in parts if one[0] in tops):
        return
    below = {top: {one[1] for one in parts if one[0] == top} for top in tops}
    for top in others:
        if below[top] & set().union(*(below[side] for side in sides)):
            near = nearest(top, list(SPLIT_FOLDERS))
            raise DataError(
                f"has a folder {shown(top)} beside {shown(sides[0])}, with the same labels in it: it is no split"
                + (f", did you mean {near!r}?" if near else ""),
                where=name,
                fix=f"name it as one of {', '.join(SPLIT_FOLDERS)}; or, if these are labels, rename {shown(sides[0])}",
            )  # fmt: skip


def _listed(
    archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], name: str, columns: ImageColumnParams, encoding: str
) -> Iterator[Found]:
    """The rows of the manifest, with the member that each names."""
    with tempfile.TemporaryDirectory() as scratch:
        manifest = Path(scratch, MANIFEST)
        manifest.write_bytes(_read(archive, members[MANIFEST]))
        records = read_records(manifest, name=MANIFEST, wanted=wanted(columns), encoding=encoding)
    called = f"{name}/{MANIFEST}"
    rows = table_of(records, called, columns)
    problems = Problems(called, "names images that are not there", fix="correct the paths; they start at the archive")
    for line, path, *_ in rows:
        if path is None:
            problems.add(line, "has no path")
        elif escapes(path):
            problems.add(line, f"{shown(path)} leads out of the archive")
        elif path not in members:
            near = nearest(path, list(members)) if len(members) < 5000 else None
            problems.add(line, f"{shown(path)} is not in the archive" + (f", did you mean {near!r}?" if near else ""))
    problems.raise_if_any()
    for line, path, label, split, group in rows:
        yield Found(line, str(path), _read(archive, members[str(path)]), label, split, group)


def wanted(columns: ImageColumnParams) -> list[str]:
    named = (columns.image, columns.label, columns.split, columns.group)
    return list(dict.fromkeys(column for column in named if column is not None))


def table_of(records: Records, name: str, columns: ImageColumnParams) -> list[tuple[int, Any, Any, Any, Any]]:
    """(line, image, label, split, group) of each record, as strings or None.

    Raises: DataError: the image's column is missing, or another that is named.
    """
    require(records.names, name, columns)

    def column(called: str | None) -> list[str | None]:
        return as_list(without_empty(as_strings(records, name, called)))

    parts = [column(one) for one in (columns.image, columns.label, columns.split, columns.group)]
    return list(zip(records.lines, *parts, strict=True))


def require(names: Sequence[str], name: str, columns: ImageColumnParams) -> None:
    """A label may be missing: rows that arrive have none. A name that is nearly there was surely meant."""
    keys = {"image": columns.image, "label": columns.label, "split": columns.split, "group": columns.group}
    missing = []
    for key, column in keys.items():
        if column is None or column in names:
            continue
        near = nearest(column, [other for other in names if other not in keys.values()])
        if key == "label" and near is None:
            continue
        missing.append(f"{column!r} ({key})" + (f", did you mean {near!r}?" if near else ""))
    if missing:
        raise DataError(
            f"has no column {'; '.join(missing)}",
            where=name,
            found=", ".join(names),
            fix="rename it in the file; or name the right one in params.yaml, ingest.columns",
        )
