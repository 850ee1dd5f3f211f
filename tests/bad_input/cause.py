"""One cause of an error: how to bring it about, through which command, and what a person must then read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

# Which project the cause is brought about in: as `finetide init` left it, after a run that promoted v1, or none.
Start = Literal["fresh", "trained", "empty"]


@dataclass(frozen=True)
class Place:
    """A copy of the project for one cause. ``folder``: what lies around it: the base, the first CSV files.

    Attributes: env: the environment of the command; a cause may change it.
    """

    folder: Path
    root: Path
    env: dict[str, str]


@dataclass(frozen=True)
class Cause:
    """``kind`` is the class of the table; ``says`` are the pieces that the message must hold, in any order.

    Attributes:
        name: short and unique; it is the test's name and the table's first column.
        command: arguments of ``finetide``; ``{root}`` and ``{folder}`` are filled in.
        arrange: brings the cause about in a copy of ``start``.
        harmless: paths, relative to the project, that the command may change although it fails, with everything below.
        as_user: run it as another user than root, who owns the copy (for causes of permission).
    """

    kind: str
    name: str
    command: tuple[str, ...]
    arrange: Callable[[Place], None]
    exit_code: int
    says: tuple[str, ...]
    start: Start = "fresh"
    harmless: tuple[str, ...] = ()
    as_user: bool = False


def nothing(_: Place) -> None:
    """The command itself is the cause."""


# Not outputs: the journal of what happened, DVC's own state, logs, the page that tells of the failure.
ALWAYS_HARMLESS = (".finetide", ".dvc/tmp", ".dvc/cache", ".git")


def tree(folder: Path, *, harmless: tuple[str, ...] = ()) -> dict[str, str]:
    """Path → SHA-256 of every file below ``folder``, links as what they name; what may change is left out."""
    found: dict[str, str] = {}
    left_out = (*ALWAYS_HARMLESS, *harmless)
    for here, folders, files in os.walk(folder):
        inside = Path(here).relative_to(folder)
        folders[:] = [name for name in folders if (inside / name).as_posix() not in left_out]
        for name in files:
            path = (inside / name).as_posix()
            if path in left_out or name == ".lock":  # serving/MODEL/.lock, always empty
                continue
            real = folder / path
            content = os.readlink(real).encode() if real.is_symlink() else real.read_bytes()
            found[path] = hashlib.sha256(content).hexdigest()
    return found
