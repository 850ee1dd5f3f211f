"""The files of a window → one table of rows and one store of images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from finetide.config.images import ImageIngestParams
from finetide.config.ingest import ColumnParams
from finetide.contracts.rows import ROLES, Role
from finetide.contracts.window import Window, WindowFile
from finetide.data.images import arrays
from finetide.data.images.archive import MANIFEST, read_zip
from finetide.data.images.found import Found
from finetide.data.images.measure import measure
from finetide.data.images.pack import packed
from finetide.data.images.schema import SCHEMA
from finetide.data.ingest import Examined, Ingested, check_request, checked_path, join_labels
from finetide.data.payload import STORE, Writer
from finetide.data.progress import bar
from finetide.data.readers import ROW_ID, SPLIT_WORDS, is_request, load
from finetide.data.records import Records
from finetide.data.table import frame
from finetide.data.text import shown
from finetide.errors import DataError, ProjectError

ARCHIVES, NPZ, PARQUET = (".zip",), (".npz",), (".parquet", ".pq")
IDX = ("-ubyte", "-ubyte.gz")
TABLES = (".csv", ".tsv", ".jsonl", ".ndjson")


def ingest(window: Window, raw: Path, params: ImageIngestParams, store: Path | None) -> Ingested:
    """Read every reference and incoming file of ``window`` below ``raw``; the images' bytes go to ``store``.

    Raises:
        DataError: a file is missing or cannot be read; a late label has no row.
        IntegrityError: a file is not the one that the window pinned.
        ProjectError: the graph has no place for the images.
    """
    if store is None:
        raise ProjectError(
            f"stage ingest has no output {STORE}, where images lie", where="dvc.yaml",
            fix="take dvc.yaml from a project that `finetide init --task image-classification` writes",
        )  # fmt: skip
    columns: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
    late: dict[str, Records] = {}
    counts: dict[str, int] = {}
    used = [(file, role) for file in window.files if (role := _role(file)) is not None]
    paths = {file.path: checked_path(file, raw) for file, _ in used}
    _refuse_lonely_labels(list(paths))
    with ExitStack() as stack:
        writer = stack.enter_context(Writer(store))
        for file, role in used:
            if arrays.is_labels(file.path):
                continue
            if file.path.lower().removesuffix(".gz").endswith(TABLES):
                late[file.path] = _late(paths[file.path], file.path, params)
                counts[file.path] = len(late[file.path].lines)
                continue
            before = len(columns["line"])
            for found in read(paths[file.path], file.path, params, paths.get(arrays.labels_name(file.path))):
                _add(columns, found, file.path, role, writer)
            counts[file.path] = len(columns["line"]) - before
            if not counts[file.path]:
                raise DataError("holds no image", where=file.path, fix="put images into it, or leave it out")
    rows = frame(columns, SCHEMA)
    excluded = {file.path for file in window.files if _role(file) is None}
    label = params.columns.label
    for name, records in late.items():
        if is_request(records):
            check_request(rows, records, name=name, label=label, text=None, excluded=excluded)
        rows = join_labels(rows, records, name=name, column=label, excluded=excluded)
    return Ingested(rows, counts)


def read(path: Path, name: str, params: ImageIngestParams, companion: Path | None) -> Iterator[Found]:
    """The images of one file. Raises: DataError: it cannot be read, or is of an unknown kind."""
    lower = name.lower()
    found: Iterator[Found]
    if lower.endswith(ARCHIVES):
        found = read_zip(path, name, params.columns, params.encoding)
    elif lower.endswith(NPZ):
        found = arrays.read_npz(path, name)
    elif lower.endswith(PARQUET):
        found = arrays.read_parquet(path, name, params.columns)
    elif lower.endswith(IDX):
        found = arrays.read_idx(path, name, companion)
    else:
        known = ", ".join((*ARCHIVES, *NPZ, *PARQUET, "images-idx3-ubyte[.gz] with labels-idx1-ubyte[.gz]"))
        raise DataError(
            f"is no file of images ({known})", where=name, found=Path(name).suffix, fix="pack the images into a zip"
        )
    with bar(f"reading {name}", None, "image") as progress:
        for one in found:
            yield one
            progress.update(1)


def examine(path: Path, name: str, params: ImageIngestParams) -> Examined:
    """Read a file that is about to be taken in. Raises: DataError as `ingest` would."""
    if arrays.is_labels(name):
        return Examined()
    if name.lower().removesuffix(".gz").endswith(TABLES):
        _late(path, name, params)
        return Examined(late=True)
    companion = path.with_name(arrays.labels_name(path.name))
    given = companion if companion != path and companion.is_file() else None
    broken = labelled = 0
    for found in read(path, name, params, given):
        split_of(found, name)
        broken += measure(found.data).fault is not None
        labelled += found.label is not None
    told = [f"{path.name}: {broken} images cannot be used; validate says which, and why"] if broken else []
    return Examined((*told, *([] if labelled else [f"{path.name}: none of its images has a label"])))


def _add(columns: Mapping[str, list[Any]], found: Found, file: str, role: Role, writer: Writer) -> None:
    measured = measure(found.data)
    digest, start = writer.add(found.data)
    entry = {
        "row_id": f"{file}:{found.line}", "role": role, "file": file, "line": found.line, "label": found.label,
        "split": split_of(found, file), "group": found.group, "name": found.name, "image": digest, "start": start,
        "size": len(found.data), "width": measured.width, "height": measured.height, "mode": measured.mode,
        "fault": measured.fault, "fix": measured.fix, "digest": measured.digest, "look": measured.look,
    }  # fmt: skip
    for name, value in entry.items():
        columns[name].append(value)


def split_of(found: Found, file: str) -> str | None:
    """Raises: DataError for a word that names no split."""
    if found.split is None:
        return None
    word = SPLIT_WORDS.get(found.split.strip().casefold())
    if word is None:
        raise DataError(
            "names no split", where=f"{file}, line {found.line}", found=shown(found.split),
            fix="write train, validation (val, dev) or test",
        )  # fmt: skip
    return word


def _late(path: Path, name: str, params: ImageIngestParams) -> Records:
    """Labels for rows that came without. Raises: DataError for a table of anything else."""
    label = params.columns.label
    columns = ColumnParams(text=ROW_ID, label=label, split=None, group=None)
    records = load(path, name=name, columns=columns, encoding=params.encoding)
    if not {ROW_ID, label} <= set(records.names):
        raise DataError(
            f"is a table without the columns {ROW_ID} and {label}, so it brings no late labels; and a manifest comes "
            "with its images",
            where=name,
            found=", ".join(records.names),
            fix=f"pack it as {MANIFEST} into a zip with its images; `finetide init` does so",
        )
    return records


def _refuse_lonely_labels(names: Sequence[str]) -> None:
    images = {arrays.labels_name(name) for name in names if not arrays.is_labels(name)}
    for name in names:
        if arrays.is_labels(name) and name not in images:
            raise DataError(
                "has labels, and the file of their images is not here", where=name,
                fix=f"bring {name.replace('labels-idx1-', 'images-idx3-')} with the same role",
            )  # fmt: skip


def _role(file: WindowFile) -> Role | None:
    return next((role for role in ROLES if role == file.role), None)


class _Images:
    """See `finetide.data.kinds.Source`."""

    schema = SCHEMA
    params = ImageIngestParams
    suffixes = (*ARCHIVES, *NPZ, *IDX, *PARQUET, *TABLES)

    def ingest(self, window: Window, raw: Path, params: ImageIngestParams, store: Path | None) -> Ingested:
        return ingest(window, raw, params, store)

    def examine(self, path: Path, name: str, params: ImageIngestParams) -> Examined:
        return examine(path, name, params)

    def pack(self, given: Path, folder: Path) -> Path:
        return packed(given, folder)


SOURCE = _Images()
