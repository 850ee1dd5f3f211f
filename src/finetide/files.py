"""Bytes on disk: hashes, and writes that a kill cannot tear."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from finetide.errors import IntegrityError

CHUNK = 1 << 20
# Of a folder that is whole: what is in it, by hash.
SEAL = "complete.json"
_TEMPORARY = re.compile(r"\..+\.(\d+)-[a-z0-9_]{8}")


def sha256_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def tree_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below ``folder``, by POSIX path relative to it, sorted."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in files}


def canonical_json(value: Any) -> bytes:
    """The one byte form of a JSON value: sorted keys, two spaces, UTF-8, no NaN, a final newline."""
    text = json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()


def seal(folder: Path) -> None:
    """Say that ``folder`` is whole: written last, with the SHA-256 of every file in it."""
    write_json(folder / SEAL, {"files": tree_hashes(folder)})


def broken(folder: Path) -> str | None:
    """What of a sealed folder is no longer as it was sealed; None when it is whole.

    Returns "" for a folder without a seal: whoever wrote it was killed before the end.
    """
    if not (folder / SEAL).is_file():
        return ""
    try:
        sealed = dict(json.loads((folder / SEAL).read_bytes())["files"])
        there = tree_hashes(folder)
    except (OSError, ValueError, KeyError, TypeError):
        return SEAL
    del there[SEAL]
    other = sorted(name for name in sealed.keys() | there.keys() if sealed.get(name) != there.get(name))
    return other[0] if other else None


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Python's errors of a write (disk full, too large) do not say to which file: this adds it."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def temporary_prefix(name: str) -> str:
    """How everything begins that will become ``name`` when it is whole; `sweep` knows it by that."""
    return f".{name}.{os.getpid()}-"


def sweep(folder: Path) -> None:
    """Remove what killed writers left half done in ``folder``; what a living process writes is left alone."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        match = _TEMPORARY.fullmatch(path.name)
        if match is None or _is_alive(int(match[1])):
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # somebody else's
        return True
    return True


def write_bytes(path: Path, data: bytes) -> None:
    """Replace ``path`` atomically: a reader, or a crash, sees the old bytes or the new ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=temporary_prefix(path.name), dir=path.parent)
    try:
        with naming(path), os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    write_bytes(path, canonical_json(value))


def read_json(path: Path) -> Any:
    """Raises: IntegrityError when the file is not JSON (torn or edited by hand)."""
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise IntegrityError(
            f"is not valid JSON: {error}", where=str(path), fix="restore the file, or run again what writes it"
        ) from error
