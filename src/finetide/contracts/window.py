"""data/MODEL/window.json: what a retraining is about. Tracked by git, written by ``finetide advance`` only."""

from __future__ import annotations

from typing import Literal

from finetide.contracts.base import Contract
from finetide.contracts.rows import Role


class WindowFile(Contract):
    """``path`` is relative to data/MODEL/raw, POSIX."""

    path: str
    sha256: str
    role: Role | Literal["excluded"]


class ChampionPin(Contract):
    """``version`` is v1, v2, …; ``hash`` is the bundle's (see contracts.bundle)."""

    version: str
    hash: str


class Window(Contract):
    schema_version: Literal[1] = 1
    model: str
    start: Literal["base", "champion"]
    champion: ChampionPin | None
    files: tuple[WindowFile, ...]

    def paths(self, role: str) -> list[WindowFile]:
        return [file for file in self.files if file.role == role]
