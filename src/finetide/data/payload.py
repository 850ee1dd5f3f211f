"""Content that is too large for a table of rows: in one file beside it, the bytes of all behind one another.

A table with the columns ``start`` and ``size`` says where a row's content lies. So rows stay small, and a stage reads
what it needs, when it needs it. Of a family without such columns the file has its first line only (DVC warns of empty
outputs).
"""

from __future__ import annotations

import mmap
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import pandas as pd
from pyarrow import ArrowException

from finetide.config.stage import Stage
from finetide.errors import IntegrityError
from finetide.files import sha256_bytes

STORE = "payload.bin"
FIRST_LINE = b"finetide payload 1\n"


class Writer:
    """Writes a store; a context."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream: BinaryIO | None = None
        self._known: dict[str, int] = {}
        self._end = 0

    def __enter__(self) -> Self:
        self._stream = self._path.open("wb")
        self._stream.write(FIRST_LINE)
        self._end = len(FIRST_LINE)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._stream is not None
        self._stream.close()

    def add(self, data: bytes) -> tuple[str, int]:
        """(SHA-256, where it begins)."""
        assert self._stream is not None
        digest = sha256_bytes(data)
        if digest not in self._known:
            self._known[digest] = self._end
            self._stream.write(data)
            self._end += len(data)
        return digest, self._known[digest]


class Store:
    """Open for reading: mapped when it is first read, so that the system keeps in memory what there is room for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._mapped: mmap.mmap | None = None

    def read(self, start: int, size: int) -> bytes:
        """Raises: IntegrityError: the file is shorter than that, or not what `Writer` wrote."""
        if size and self._mapped is None and self.path.stat().st_size:
            with self.path.open("rb") as stream:
                self._mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            if not self._mapped[: len(FIRST_LINE)] == FIRST_LINE:
                raise IntegrityError("is no store", where=str(self.path), fix="run its stage again: dvc repro")
        found = self._mapped[start : start + size] if self._mapped is not None else b""
        if len(found) != size:
            raise IntegrityError(
                "is shorter than the table of rows says", where=str(self.path), fix="run its stage again: dvc repro"
            )
        return found


class Stored:
    """One content of a store, read when it is asked for: ``bytes(stored)``."""

    __slots__ = ("size", "start", "store")

    def __init__(self, store: Store, start: int, size: int) -> None:
        self.store, self.start, self.size = store, start, size

    def __bytes__(self) -> bytes:
        return self.store.read(self.start, self.size)


def unreadable(name: str, error: Exception) -> IntegrityError:
    """Of a table between stages. Args: name: of its file."""
    said = " ".join(str(error).split())
    return IntegrityError(f"is not a readable Parquet file: {said}", where=name, fix="run its stage again: dvc repro")


def read_split(stage: Stage) -> pd.DataFrame:
    """The rows that split left; with the column ``bytes``, of `Stored`, where their content lies in a store."""
    path = stage.dep("split.parquet")
    try:
        rows = pd.read_parquet(path)
    except (ArrowException, OSError, ValueError) as error:
        raise unreadable(path.name, error) from error
    if "start" not in rows:
        return rows
    store = Store(stage.dep(STORE))
    places = zip(rows["start"].tolist(), rows["size"].tolist(), strict=True)
    stored: list[Any] = [Stored(store, start, size) for start, size in places]
    return rows.assign(bytes=pd.Series(stored, index=rows.index, dtype=object))
