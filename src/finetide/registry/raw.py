"""The raw files of a model, ``data/MODEL/raw``: which count, and how new ones get in. They never change once there."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from finetide.config.load import PARAMS_FILE, read_yaml
from finetide.errors import DataError
from finetide.files import naming, sha256_file, temporary_prefix
from finetide.registry.names import check_model

# What finetide.data reads; a test compares. Parquet is packed inside: a second packing around it is not read.
TEXT_SUFFIXES, PARQUET_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson"), (".parquet", ".pq")
# Task → what its files end in besides.
OTHER_SUFFIXES = {
    "image-classification": (".zip", ".npz", "-ubyte", "-ubyte.gz"),
    "question-answering": (".json", ".json.gz"),
}
# Bytes. Most file systems have 255; a copy under way and DVC's pointer have some more than the name.
LONGEST_NAME = 200
_NOT_DATA = (".dvc", ".tmp", ".part", "~")  # DVC's pointers, downloads under way, editors' backups


def raw_folder(root: Path, model: str) -> Path:
    return root / "data" / check_model(model) / "raw"


def other_suffixes(folder: Path) -> tuple[str, ...]:
    """What files of the model of ``folder``, ``data/MODEL/raw``, may end in beside what every family reads."""
    params = folder.parents[2] / PARAMS_FILE
    models = (read_yaml(params) or {}).get("models", {}) if params.is_file() else {}
    entry = models.get(folder.parent.name) if isinstance(models, dict) else None
    return OTHER_SUFFIXES.get(str(entry.get("task")), ()) if isinstance(entry, dict) else ()


def is_supported(name: str, other: tuple[str, ...] = ()) -> bool:
    lower = name.lower()
    return lower.endswith((*PARQUET_SUFFIXES, *other)) or lower.removesuffix(".gz").endswith(TEXT_SUFFIXES)


def listing(folder: Path) -> list[str]:
    """Data files below ``folder``, POSIX, relative to it, by name.

    Raises: DataError for a file that is neither data nor known not to be, and for a link to nothing or a pipe: leaving
    them out silently would lose rows.
    """
    names = sorted(path.relative_to(folder).as_posix() for path in candidates(folder))
    other = other_suffixes(folder)
    for name in names:
        if not is_supported(name, other):
            raise _unsupported(folder / name, other, fix="convert it, or move it out of this folder")
    for path in folder.rglob("*"):
        _refuse_no_file(folder, path)
    return names


def pointer(folder: Path, name: str) -> Path | None:
    """The ``.dvc`` file that stands for a raw file: beside it, or beside one of its folders up to ``raw``."""
    path = folder / name
    while path != folder.parent:
        candidate = path.with_name(path.name + ".dvc")
        if candidate.is_file():
            return candidate
        path = path.parent
    return None


def add(folder: Path, files: Sequence[Path]) -> list[str]:
    """Copy ``files`` into ``folder`` under their own names; all are checked before the first is copied.

    A file that is there already with the same bytes stays. Returns their names, in the order given.

    Raises: DataError for a missing or unsupported file, and for a name that is taken by other bytes.
    """
    names = check(folder, files)
    for file in files:
        if not (folder / file.name).exists():
            _copy(file, folder / file.name)
    return names


def check(folder: Path, files: Sequence[Path]) -> list[str]:
    """The names of ``files`` if `add` would take them. Raises: DataError as `add` does."""
    taken: dict[str, str] = {}
    for file in files:
        taken[file.name] = _check(folder, file, taken.get(file.name))
    return list(taken)


def _check(folder: Path, file: Path, earlier: str | None) -> str:
    """SHA-256 of a file that may be added. ``earlier``: that of another one of the same name in this call."""
    if not file.is_file():
        if file.exists():
            raise DataError("is not a file", where=str(file), fix="name the files in it one by one")
        raise DataError("no such file", where=str(file), fix="check the path; it starts in the folder you are in")
    if not file.name.isprintable():
        raise DataError(
            "has a line break or another control character in its name", where=repr(str(file)), fix="rename it"
        )
    length = len(os.fsencode(file.name))
    if length > LONGEST_NAME:
        raise DataError(
            f"has a name of {length} bytes, at most {LONGEST_NAME} can be kept",
            where=str(file),
            fix="give it a shorter one",
        )
    other = other_suffixes(folder)
    if file.name.startswith(".") or not is_supported(file.name, other):
        raise _unsupported(file, other, fix="convert it, e.g. to CSV in UTF-8")
    sha256, there = sha256_file(file), folder / file.name
    if earlier not in (None, sha256) or (there.exists() and sha256_file(there) != sha256):
        raise DataError(
            f"{there.name} is taken by a file with other content; raw files never change",
            where=str(file),
            fix="give the new file another name, e.g. with a date in it",
        )
    return sha256


def candidates(folder: Path) -> Iterator[Path]:
    """Files below ``folder`` that may be data: no hidden ones, no downloads under way, no pointers of DVC."""
    for path in folder.rglob("*"):
        if may_be_data(path.relative_to(folder).parts) and path.is_file():
            yield path


def may_be_data(parts: Sequence[str]) -> bool:
    """By its name alone. Args: parts: of a file's path, its folders first."""
    return not any(part.startswith(".") for part in parts) and not parts[-1].endswith(_NOT_DATA)


def _refuse_no_file(folder: Path, path: Path) -> None:
    """Raises: DataError for a link to nothing, a pipe or alike, under a name that `candidates` would take."""
    name = path.relative_to(folder)
    if not may_be_data(name.parts) or path.is_dir():
        return
    if path.is_symlink() and not path.exists():
        if pointer(folder, name.as_posix()) is None:  # else DVC brings it back
            what, fix = "is a link to a file that is not there", "put that file back, or remove the link"
            raise DataError(what, where=str(path), found=os.readlink(path), fix=fix)
    elif path.exists() and not path.is_file():
        raise DataError("is no file but a pipe, socket or device", where=str(path), fix="put the data there as a file")


def _copy(source: Path, target: Path) -> None:
    """A kill leaves either nothing or the whole file under its name."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=temporary_prefix(target.name), dir=target.parent)
    try:
        with naming(target), source.open("rb") as reader, os.fdopen(handle, "wb") as writer:
            shutil.copyfileobj(reader, writer)
            writer.flush()
            os.fsync(writer.fileno())
        os.chmod(name, source.stat().st_mode & 0o777 | 0o600)
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _unsupported(file: Path, other: tuple[str, ...], *, fix: str) -> DataError:
    text, parquet = ", ".join(TEXT_SUFFIXES), ", ".join((*PARQUET_SUFFIXES, *other))
    return DataError(
        f"is not a kind of file that Finetide reads ({text}, each also .gz; {parquet})", where=str(file), fix=fix
    )
