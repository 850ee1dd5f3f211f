"""What the readers of image files hand on, and where a path may lead."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True)
class Found:
    """One image. ``line``: its number in the file, from 1, or the manifest's physical line; ``name``: where it lies
    inside, for a person; ``data``: encoded, empty where it is not there. ``split`` as the file spells it."""

    line: int
    name: str
    data: bytes
    label: str | None
    split: str | None = None
    group: str | None = None


def escapes(path: str) -> bool:
    """Whether a path inside an archive or a manifest leads, or could lead on some system, out of its folder."""
    pure = PurePosixPath(path.replace("\\", "/"))
    drive = len(path) > 1 and path[1] == ":"
    return pure.is_absolute() or ".." in pure.parts or "\0" in path or drive or not pure.parts
