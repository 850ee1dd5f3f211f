"""What a run elsewhere took in or was told: in a worktree of this repository, or in another clone.

Where the newest decision of the ledger names files that this checkout lacks, they come in by their DVC pointers, out of
that entry's run commit. So does the file of a person's newest yes or no, else the gate would ask here once more. So a
scheduled promotion reaches a person's checkout with their next `run` or `advance`, and never before.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from finetide.contracts.gate import approval_name
from finetide.contracts.ledger import LedgerEntry
from finetide.contracts.window import Window
from finetide.files import write_bytes, write_text
from finetide.lifecycle import locks
from finetide.pipeline import dvc
from finetide.registry import history, ledger, raw
from finetide.registry.approvals import approvals_folder
from finetide.registry.window import read_window, recompute, window_path

# What means more than itself in .gitignore.
_GIT_SIGNS = frozenset("[]!*#?\\")
# Event of the ledger → the word in the file's name.
DECIDED = {"approved": "approved", "refused": "rejected"}


def catch_up(root: Path, model: str) -> list[str]:
    """Returns: a line for each file that came in. Doing it twice changes nothing."""
    entries = ledger.read(root, model)
    return [*_answer(root, model, entries), *_files(root, model, entries)]


def _answer(root: Path, model: str, entries: Sequence[LedgerEntry]) -> list[str]:
    """A person's newest decision, where its file is not here."""
    entry = next((one for one in reversed(entries) if one.event in DECIDED), None)
    if entry is None or "verdict" not in entry.hashes:
        return []
    name = approval_name(entry.hashes["verdict"], DECIDED[entry.event])
    path = approvals_folder(root, model) / name
    if path.exists():
        return []
    data = locks.blob(root, ledger.run_commit(root, model, entry.sequence), path)
    if data is None:
        return []
    write_bytes(path, data)
    return [f"{name}: {entry.event} by {entry.who} in the ledger's entry {entry.sequence}"]


def _files(root: Path, model: str, entries: Sequence[LedgerEntry]) -> list[str]:
    newest = _newest(entries)
    if newest is None or newest.window is None:
        return []
    own = read_window(root, model)
    mine = {file.path for file in own.files}
    wanted = [file for file in newest.window.files if file.path not in mine]
    folder = raw.raw_folder(root, model)
    commit = ledger.run_commit(root, model, newest.sequence) if wanted else ""
    # One that stands here without a pointer was just dropped; advance takes it in, and finds its bytes known or not.
    came = [file.path for file in wanted if _bring(root, folder, file.path, commit)]
    if len(came) < len(wanted):
        return []
    if came:
        _window(own, newest.window, entries).write(window_path(root, model))
        _take_lock(root, model, commit)
    return [f"{path}: known from the run that the ledger's entry {newest.sequence} is about" for path in came]


def _newest(entries: Sequence[LedgerEntry]) -> LedgerEntry | None:
    decided = (entry for entry in reversed(entries) if entry.event in (*history.JUDGED, "excluded"))
    return next((entry for entry in decided if entry.window), None)


def _window(own: Window, known: Window, entries: Sequence[LedgerEntry]) -> Window:
    """That very window, so that nothing is stale; unless there are files here that it does not know."""
    files = {file.path: file.sha256 for file in (*known.files, *own.files)}
    return known if len(files) == len(known.files) else recompute(known, entries, files, known.start)


def _bring(root: Path, folder: Path, name: str, commit: str) -> bool:
    """Write the pointer of a raw file as that commit has it. False: it has none, or the file is here without one."""
    there = raw.pointer(folder, name)
    if there is not None or (folder / name).exists():
        return there is not None
    pointer = folder / f"{name}.dvc"
    data = locks.blob(root, commit, pointer)
    if data is None:
        return False
    write_bytes(pointer, data)
    _ignore(folder / name)
    return True


def _take_lock(root: Path, model: str, commit: str) -> None:
    """The model's stages as that run left them, with their outputs out of the cache. Else the outputs of an older run
    would count as changed inputs, and all of it would be made again."""
    taken = locks.take(root, model, commit)
    if taken:
        dvc.call(root, ["checkout", "--quiet", *taken])  # what the cache lacks is missing then, and DVC says so


def _ignore(file: Path) -> None:
    """As `dvc add` does: git is not to see the bytes."""
    ignore = file.with_name(".gitignore")
    lines = ignore.read_text(encoding="utf-8").splitlines() if ignore.exists() else []
    entry = "/" + "".join(f"\\{sign}" if sign in _GIT_SIGNS else sign for sign in file.name)
    if entry not in lines:
        write_text(ignore, "\n".join([*lines, entry]) + "\n")
