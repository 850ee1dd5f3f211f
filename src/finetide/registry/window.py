"""data/MODEL/window.json: written first by ``finetide init``, then by ``finetide advance`` and ``exclude`` alone.

When it moves. A window is *settled* while nothing has arrived since: the champion is the one it pins, or the one that
its own challenger became. A settled window keeps its bytes, so that a promotion, a rejection or an acknowledgement
makes no stage stale. A new file, an exclusion, or a champion from elsewhere (a rollback by two versions, another
worktree) unsettles it, and then every role is computed anew from the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from finetide.contracts.ledger import LedgerEntry
from finetide.contracts.rows import Role
from finetide.contracts.window import ChampionPin, Start, Window, WindowFile
from finetide.errors import DataError, IntegrityError, ProjectError
from finetide.files import sha256_file
from finetide.registry import history, ledger, raw
from finetide.registry.history import Entries

AnyRole = Role | Literal["excluded"]


def window_path(root: Path, model: str) -> Path:
    return raw.raw_folder(root, model).with_name("window.json")


def read_window(root: Path, model: str) -> Window:
    """Raises: ProjectError when there is none, IntegrityError when it is torn or another model's."""
    path = window_path(root, model)
    if not path.is_file():
        raise ProjectError(
            "no such file", where=str(path), fix=f"take it from git: git checkout {path.relative_to(root)}"
        )
    window = Window.read(path)
    if window.model != model:
        raise IntegrityError(
            "is the window of another model", where=str(path), found=window.model, fix=f"git checkout {path.name}"
        )
    return window


def first_window(
    root: Path, model: str, *, reference: Sequence[Path], incoming: Sequence[Path], start: Start = "base"
) -> Window:
    """Copy the files into ``raw`` and write the first window: no champion.

    Raises: DataError for a bad file, or one given in both roles; ProjectError when there is a window already.
    """
    path = window_path(root, model)
    if path.exists():
        raise ProjectError("exists already", where=str(path), fix=f"add files with: finetide advance {model} FILE")
    folder = raw.raw_folder(root, model)
    both = sorted({file.name for file in reference} & {file.name for file in incoming})
    if both:
        raise DataError("is given both as reference and as incoming", where=both[0], fix="give it once, or rename one")
    names = raw.add(folder, [*reference, *incoming])
    roles: dict[str, AnyRole] = {file.name: "incoming" for file in incoming}
    window = Window(
        model=model,
        start=start,
        champion=None,
        files=tuple(_file(name, sha256_file(folder / name), roles.get(name, "reference")) for name in names),
    )
    window.write(path)
    return window


def advance(root: Path, model: str, files: Sequence[Path] | None, start: Start) -> tuple[Window, list[str]]:
    """Take in what has arrived, given as ``files`` or dropped into ``raw``.

    Args:
        files: copied into ``data/MODEL/raw`` first.
        start: params.yaml ``train.start``; while there is no champion, champion is the base, and an adopted model
            stays the one that is judged.

    Returns:
        The window, and what changed, one line each; no line means that window.json was not touched.

    Raises:
        DataError: a file is missing, unsupported, or its name is taken by other bytes.
        IntegrityError: a file of the window changed or is gone, or the ledger lacks the champion that the window pins.
    """
    window = read_window(root, model)
    entries = ledger.read(root, model)
    folder = raw.raw_folder(root, model)
    if files:
        raw.add(folder, files)
    found = scan(window, folder)
    if settled(window, entries, found, start):
        return window, []
    moved = recompute(window, entries, found, start)
    changes = describe(window, moved, entries)
    if changes:
        moved.write(window_path(root, model))
    return moved, changes


def repin(root: Path, model: str, start: Start) -> list[str]:
    """Let the challengers of this window, whose roles stay, meet the champion now in service. Returns what changed."""
    window, entries = read_window(root, model), ledger.read(root, model)
    champion = history.champion(entries)
    moved = window.model_copy(update={"champion": _pin(champion), "start": _possible(start, champion, window)})
    changes = describe(window, moved, entries)
    if changes:
        moved.write(window_path(root, model))
    return changes


def scan(window: Window, folder: Path) -> dict[str, str]:
    """Path → SHA-256: first the window's files in their order, then the new ones by name.

    A file that only DVC's pointer stands for counts as unchanged; one that is excluded need not be there.

    Raises: IntegrityError for a file of the window that has other bytes now, or is gone.
    """
    on_disk = raw.listing(folder)
    found = {file.path: _unchanged(window, file, folder, there=file.path in on_disk) for file in window.files}
    return found | {name: sha256_file(folder / name) for name in on_disk if name not in found}


def settled(window: Window, entries: Entries, found: Mapping[str, str], start: Start) -> bool:
    """Nothing has arrived, nothing was excluded, and the champion is the window's own.

    Raises: IntegrityError when the window pins a champion that the ledger does not know.
    """
    _check_pin(window, entries)
    if len(found) > len(window.files):
        return False
    barred = history.excluded(entries)
    if any(file.role != "excluded" and file.sha256 in barred for file in window.files):
        return False
    champion = history.champion(entries)
    if champion is None:
        return window.start == _possible(start, None, window)
    if window.champion and champion.bundle_hash == window.champion.hash:
        return window.start == start
    return champion.window == window


def recompute(
    window: Window, entries: Entries, found: Mapping[str, str], start: Start, *, barred: frozenset[str] = frozenset()
) -> Window:
    """Every role anew: excluded stays excluded, reference is what the champion knows (`history.known_files`),
    incoming is the rest. Before the first promotion the roles stand, and new files are incoming.

    Args: barred: SHA-256 of files to exclude besides those that the ledger excludes.
    """
    champion = history.champion(entries)
    roles: dict[str, AnyRole] = {file.path: file.role for file in window.files}
    known = history.known_files(entries, champion) if champion else None
    out = barred | history.excluded(entries).keys()

    def role(path: str, sha256: str) -> AnyRole:
        if sha256 in out or roles.get(path) == "excluded":
            return "excluded"
        if known is None:
            return roles.get(path, "incoming")
        return "reference" if (path, sha256) in known else "incoming"

    return Window(
        model=window.model,
        start=_possible(start, champion, window),
        champion=_pin(champion),
        files=tuple(_file(path, sha256, role(path, sha256)) for path, sha256 in found.items()),
    )


def _possible(start: Start, champion: object | None, before: Window) -> Start:
    """An adopted model is adopted until something is in service; from then on its weights are the champion's."""
    if champion is not None:
        return "champion" if start == "adopted" else start
    if "adopted" in (start, before.start) and start != "scratch":
        return "adopted"
    return "base" if start == "champion" else start


def describe(before: Window, after: Window, entries: Entries) -> list[str]:
    """What differs, one line each, as a person would say it."""
    roles = {file.path: file.role for file in before.files}
    barred = history.excluded(entries)
    lines = []
    for file in after.files:
        why = f" (excluded before: {barred[file.sha256].reason})" if file.sha256 in barred else ""
        if file.path not in roles:
            lines.append(f"{file.path}: new, {file.role}{why}")
        elif file.role != roles[file.path]:
            lines.append(f"{file.path}: {roles[file.path]} → {file.role}{why}")
    if before.champion != after.champion:
        lines.append(f"champion: {_version(before)} → {_version(after)}")
    if before.start != after.start:
        lines.append(f"start: {before.start} → {after.start}")
    return lines


def _check_pin(window: Window, entries: Entries) -> None:
    if window.champion and history.promotion(entries, window.champion.hash) is None:
        raise IntegrityError(
            f"pins champion {window.champion.version}, of which the ledger knows nothing",
            where=f"data/{window.model}/window.json",
            found=window.champion.hash,
            fix="the ledger's tags are not here; fetch them: git fetch --tags",
        )


def _unchanged(window: Window, file: WindowFile, folder: Path, *, there: bool) -> str:
    pointer = raw.pointer(folder, file.path)
    deleted = f"restore it: delete it, and finetide run {window.model} brings it back (DVC)"
    fix = deleted if pointer else "restore it: git checkout, or from a copy"
    if there and (now := sha256_file(folder / file.path)) != file.sha256:
        raise IntegrityError(
            f"changed after the window took it in; raw files never change, and window.json names sha256 {file.sha256}",
            where=str(folder / file.path),
            found=now,
            fix=f"{fix}; then add the new data under another name. If window.json was edited: git checkout it",
        )
    if not there and pointer is None and file.role != "excluded":
        raise IntegrityError(
            "is named in the window but is gone",
            where=str(folder / file.path),
            fix=f"{fix}; or leave it out: finetide exclude",
        )
    return file.sha256


def _file(path: str, sha256: str, role: AnyRole) -> WindowFile:
    return WindowFile(path=path, sha256=sha256, role=role)


def _pin(champion: LedgerEntry | None) -> ChampionPin | None:
    if champion is None:
        return None
    return ChampionPin(version=champion.version or "", hash=champion.bundle_hash or "")


def _version(window: Window) -> str:
    return window.champion.version if window.champion else "none"
