"""data/MODEL/window.json: what a retraining is about. Tracked by git, written by ``finetide advance`` only."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Literal, Self

from pydantic import field_validator

from finetide.contracts.base import Contract
from finetide.errors import IntegrityError

# The weights that training starts from; scratch: random ones, in the base's architecture; adopted: nothing is trained,
# the base is the model, with the head that it came with.
Start = Literal["base", "champion", "scratch", "adopted"]


class WindowFile(Contract):
    """``path`` is relative to data/MODEL/raw, POSIX."""

    path: str
    sha256: str
    # One list, not a union with Role: of a word that is none, pydantic would name the first part only.
    role: Literal["reference", "incoming", "excluded"]

    @field_validator("path")
    @classmethod
    def _stays_inside(cls, path: str) -> str:
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts or "\0" in path or not pure.parts:
            raise ValueError("must stay inside data/MODEL/raw")
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

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises: IntegrityError when it is torn; git has it, and only ``finetide advance`` writes it."""
        try:
            return super().read(path)
        except IntegrityError as error:
            tracked = PurePosixPath(*path.parts[-3:])  # data/MODEL/window.json
            error = IntegrityError(
                error.what, where=error.where, found=error.found, fix=f"take it from git: git checkout {tracked}"
            )
            raise error from None

    def paths(self, role: str) -> list[WindowFile]:
        return [file for file in self.files if file.role == role]
