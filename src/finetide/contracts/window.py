"""data/MODEL/window.json: what a retraining is about. Tracked by git, written by ``finetide advance`` only."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Literal

from pydantic import field_validator

from finetide.contracts.base import Contract
from finetide.contracts.rows import Role

# The weights that training starts from; scratch: random ones, in the base's architecture; adopted: nothing is trained,
# the base is the model, with the head that it came with.
Start = Literal["base", "champion", "scratch", "adopted"]


class WindowFile(Contract):
    """``path`` is relative to data/MODEL/raw, POSIX."""

    path: str
    sha256: str
    role: Role | Literal["excluded"]

    @field_validator("path")
    @classmethod
    def _stays_inside(cls, path: str) -> str:
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts or "\0" in path or not pure.parts:
            raise ValueError(f"must stay inside data/MODEL/raw, found {path!r}")
        return path


class ChampionPin(Contract):
    """``version`` is v1, v2, …; ``hash`` is the bundle's (see contracts.bundle)."""

    version: str
    hash: str


class Window(Contract):
    schema_version: Literal[1] = 1
    model: str
    start: Start
    champion: ChampionPin | None
    files: tuple[WindowFile, ...]

    def paths(self, role: str) -> list[WindowFile]:
        return [file for file in self.files if file.role == role]
