"""The drop folder: files that others put there are taken in once they are whole. Nothing in it is ever changed.

When is a file whole? Its size and time of change are the same over two looks ``quiet_seconds`` apart, and once more
after it was copied. Names that end in .part or .tmp, and hidden ones, are not looked at: who writes slowly, or
copies with a tool that sets times, writes under such a name and renames. The two looks are for those who do not.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

from finetide.config.params import model_params
from finetide.contracts.operate import DropRecord, Seen
from finetide.errors import FinetideError, InputError, IntegrityError
from finetide.files import sha256_file
from finetide.lifecycle.prepare import advance_window
from finetide.registry import raw
from finetide.registry.window import read_window

Wait = Callable[[float], None]
Look = tuple[int, int]


def drop_folder(root: Path, model: str) -> Path:
    """Args: root: the checkout's project, against which a relative ``schedule.drop`` is taken."""
    return root / model_params(root, model).schedule.drop


def pick_up(root: Path, project: Path, model: str, *, wait: Wait = time.sleep) -> list[Seen]:
    """Enter what is new and whole into the window of ``project``.

    Args: root: the checkout's project, whose drop folder it is; project: where the run works.

    Returns: what became of each file that was looked at now. One that still grows is in the next look.
    """
    folder = drop_folder(root, model)
    known = {seen.name: seen for seen in _read(root, model).files}
    inside = {file.sha256 for file in read_window(project, model).files}
    fresh = {name: look for name, look in _looks(folder).items() if _is_new(look, known.get(name), inside)}
    if not fresh:
        return []
    wait(model_params(root, model).schedule.quiet_seconds)
    now = _looks(folder)
    still = {name: look for name, look in fresh.items() if now.get(name) == look}
    scratch = project / ".finetide" / "drop"
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch) as copied:
        found = _enter(folder, Path(copied), project, model, still)
    _write(root, model, {**known, **{seen.name: seen for seen in found}})
    return found


def _enter(folder: Path, copied: Path, project: Path, model: str, still: dict[str, Look]) -> list[Seen]:
    there = {file.sha256: file.path for file in read_window(project, model).files}
    found: list[Seen] = []
    for name, look in still.items():
        copy = copied / Path(name).name
        shutil.copyfile(folder / name, copy)
        if _look(folder / name) != look:
            continue
        sha256 = sha256_file(copy)
        if sha256 in there:
            same = there[sha256]
            why = "in the window already" if same == copy.name else f"has the bytes of {same}"
            outcome: Literal["taken", "refused", "duplicate"] = "taken" if same == copy.name else "duplicate"
        else:
            outcome, why = _advance(project, model, copy)
            there[sha256] = copy.name
        found.append(Seen(name=name, size=look[0], modified=look[1], sha256=sha256, outcome=outcome, why=why))
    return found


def _advance(project: Path, model: str, copy: Path) -> tuple[Literal["taken", "refused"], str]:
    """One by one, so that a bad file keeps no good one out."""
    try:
        lines = advance_window(project, model, [copy])
    except IntegrityError:
        raise  # not this file's fault
    except InputError as error:
        return "refused", str(error).replace(f"{copy.parent}/", "")
    return "taken", lines[0] if lines else "nothing new in it"


def _looks(folder: Path) -> dict[str, Look]:
    """Size and time of change of every file that may be data, by its path in ``folder``."""
    return {name: _look(folder / name) for name in _names(folder)}


def _look(path: Path) -> Look:
    try:
        found = path.stat()
    except FileNotFoundError:  # renamed or taken away meanwhile
        return (-1, -1)
    return found.st_size, found.st_mtime_ns


def _names(folder: Path) -> Iterable[str]:
    return sorted(path.relative_to(folder).as_posix() for path in raw.candidates(folder)) if folder.is_dir() else ()


def _is_new(look: Look, known: Seen | None, inside: set[str]) -> bool:
    """Never seen, changed since, or taken into a worktree that is gone. Args: inside: SHA-256 of the window's files."""
    if known is None or (known.size, known.modified) != look:
        return True
    return known.outcome != "refused" and known.sha256 not in inside


def _path(root: Path, model: str) -> Path:
    return root / ".finetide" / "drop" / f"{model}.json"


def _read(root: Path, model: str) -> DropRecord:
    try:
        return DropRecord.read(_path(root, model))
    except (FileNotFoundError, FinetideError):
        return DropRecord(files=())


def _write(root: Path, model: str, files: dict[str, Seen]) -> None:
    DropRecord(files=tuple(files[name] for name in sorted(files))).write(_path(root, model))
