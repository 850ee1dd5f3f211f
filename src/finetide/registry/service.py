"""What puts models into service and takes them out: each call is one step of the ledger, then of the alias.

The ledger decides. A crash between ledger and alias is healed by `reconcile`, which every call ends with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from finetide.contracts.judge import JudgeVerdict
from finetide.contracts.ledger import Alias, LedgerEntry
from finetide.contracts.window import Window
from finetide.errors import GateError, InputError, IntegrityError
from finetide.registry import history, ledger, raw, store
from finetide.registry.alias import alias_of, alias_path, read_alias, write_alias
from finetide.registry.clock import Clock, utc_now
from finetide.registry.history import Entries
from finetide.registry.ledger import Draft
from finetide.registry.window import read_window, recompute, scan, window_path

Recordable = Literal["rejected", "not-needed", "postponed", "halted", "approved", "refused"]


def promote(
    root: Path,
    model: str,
    judge: JudgeVerdict,
    *,
    bundle: Path,
    weights: Path,
    window: Window,
    reason: str,
    hashes: Mapping[str, str],
    force_reason: str | None = None,
    who: str | None = None,
    now: Clock = utc_now,
    before_alias: Callable[[], object] = lambda: None,
) -> LedgerEntry:
    """Put the judged bundle into service: store, ledger, alias. Of what is in service already, the entry is returned.

    Args:
        bundle, weights: folders; copied into the store.
        window: what the challenger was trained on.
        hashes: whatever else pins the run, by name, e.g. ``dvc.lock``; ``weights`` is added.
        force_reason: why to promote against the judge; recorded.
        before_alias: called once the ledger has it, before the alias moves.

    Raises:
        GateError: the judge rejected it, or compared it with another champion than today's; or it was withdrawn.
        IntegrityError: the bundle is not the one that was judged, or not what its manifest says.
    """
    found = store.bundle_hash(bundle)
    if found != judge.challenger_hash:
        raise IntegrityError(
            f"is not the bundle that was judged, {judge.challenger_hash}", where=str(bundle), found=found
        )
    said = _reason(reason)
    if force_reason is not None:
        said = f"{said}; forced: {_reason(force_reason)}"

    trained = store.weights_hash(weights)

    def build(entries: Entries) -> Sequence[Draft]:
        _may_promote(entries, judge, trained, forced=force_reason is not None)
        current = history.champion(entries)
        if current and current.bundle_hash == found:
            return []
        pinned = {**hashes, "weights": trained}
        return [Draft("promoted", said, bundle_hash=found, window=window, hashes=pinned)]

    _may_promote(ledger.read(root, model), judge, trained, forced=force_reason is not None)
    store.keep(root, model, bundle, weights)
    ledger.append(root, model, build, who=who, now=now)
    before_alias()
    reconcile(root, model)
    entry = history.promotion(ledger.read(root, model), found)
    assert entry is not None
    return entry


def record(
    root: Path,
    model: str,
    event: Recordable,
    *,
    reason: str,
    window: Window | None,
    bundle_hash: str | None = None,
    version: str | None = None,
    hashes: Mapping[str, str] | None = None,
    who: str | None = None,
    now: Clock = utc_now,
) -> LedgerEntry:
    """Record an event that moves nothing. Args: window: what it is about; its incoming files are what a "not-needed"
    acknowledges as harmless."""
    if event == "not-needed" and window is None:
        raise InputError("not-needed needs the window whose incoming files it acknowledges")
    draft = Draft(event, _reason(reason), version, bundle_hash, window, dict(hashes or {}))
    return ledger.append(root, model, lambda _: [draft], who=who, now=now)[0]


def rollback(
    root: Path, model: str, to: str | None = None, *, reason: str, who: str | None = None, now: Clock = utc_now
) -> LedgerEntry:
    """Go back to version ``to`` (default: the champion before); what is left is withdrawn for good.

    Returns the "rolled-back" entry, whose version and hash are those that are in service now.

    Raises:
        InputError: nothing to go back to, an unknown version, or the one that is in service.
        GateError: that version was withdrawn.
        IntegrityError: the store lacks its bundle or it is damaged. Then nothing has moved.
    """
    said = _reason(reason)

    def build(entries: Entries) -> Sequence[Draft]:
        target, left = _target(entries, model, to), history.champion(entries)
        assert left is not None
        store.verify_stored_bundle(root, model, target.bundle_hash or "")
        # In this order: when git is killed between the two, the same command again does the rest.
        return [
            Draft("withdrawn", said, left.version, left.bundle_hash, left.window),
            Draft("rolled-back", said, target.version, target.bundle_hash, target.window),
        ]

    entry = ledger.append(root, model, build, who=who, now=now)[-1]
    reconcile(root, model)
    return entry


def exclude(
    root: Path, model: str, file: str, *, reason: str, who: str | None = None, now: Clock = utc_now
) -> LedgerEntry:
    """Keep a file out of this window and every later one, by its bytes. Ledger first, then window.json.

    Args: file: as the window names it, or a path to it below ``data/MODEL/raw``.

    Raises: InputError for an unknown file, one that is excluded already, or the only reference file.
    """
    said = _reason(reason)
    folder = raw.raw_folder(root, model)
    window = read_window(root, model)
    known = {entry.path: entry.sha256 for entry in window.files}
    name = _name_in(folder, file)
    if name not in known and name in raw.listing(folder):
        known = scan(window, folder)
    if name not in known:
        raise InputError("no such file", where=str(folder / name), fix=f"known: {', '.join(known) or 'none'}")
    sha256 = known[name]
    reference = window.paths("reference")
    if [entry.sha256 for entry in reference] == [sha256]:
        raise InputError(
            "is the only reference file, and without one there is nothing to learn from or to compare with",
            where=name,
            fix="begin a project with `finetide init` on the rows that are good; this file can be left out of it",
        )
    of_window = {entry.path: entry.sha256 for entry in window.files} | {name: sha256}
    windows: list[Window] = []

    def build(entries: Entries) -> Sequence[Draft]:
        if sha256 in history.excluded(entries):
            raise InputError(f"is excluded already: {history.excluded(entries)[sha256].reason}", where=name)
        windows.append(recompute(window, entries, of_window, window.start, barred=frozenset({sha256})))
        return [Draft("excluded", said, window=windows[-1], hashes={name: sha256})]

    entry = ledger.append(root, model, build, who=who, now=now)[0]
    windows[-1].write(window_path(root, model))
    return entry


def reconcile(root: Path, model: str) -> Alias | None:
    """Move the alias to what the ledger says; returns it, or None when nothing was ever promoted.

    Raises:
        IntegrityError: ledger and alias contradict one another, or the store lacks the champion's bundle.
    """
    with store.lock(root, model):
        entries = ledger.read(root, model)
        there, move = _alias_there(root, model), history.last_move(entries)
        if there:
            check_alias(root, model, there, entries)
        if move is None:
            return None
        wanted = alias_of(move)
        if there != wanted:
            store.verify_stored_bundle(root, model, wanted.hash)
            write_alias(root, wanted)
        return wanted


def check_alias(root: Path, model: str, there: Alias, entries: Entries) -> None:
    """An alias that an entry wrote, and that entry: no crash makes them differ. The chain covers each entry but the
    newest (see `ledger`), for which the alias is the copy; an alias that names no whole bundle is none, and is healed.

    Raises: IntegrityError: they contradict one another, or the ledger has no such entry.
    """
    if there.entry > len(entries):
        raise IntegrityError(
            f"names entry {there.entry} of a ledger that has {len(entries)}",
            where=str(alias_path(root, model)),
            fix="tags are missing here; fetch them: git fetch --tags",
        )
    if there.entry < 1:
        return
    entry = entries[there.entry - 1]
    same = entry.event in history.MOVES and (entry.version, entry.bundle_hash) == (there.version, there.hash)
    if same or not store.is_complete(root, model, there.hash):
        return
    raise IntegrityError(
        f"says that entry {there.entry} put {there.version} ({_short(there.hash)}) into service, and that entry of the "
        f"ledger says {entry.event} {entry.version or ''} ({_short(entry.bundle_hash)}): one of the two was altered",
        where=str(alias_path(root, model)),
        fix="bring the ledger from another copy: git fetch --force --tags; or, if it is right, delete the alias",
    )


def _alias_there(root: Path, model: str) -> Alias | None:
    """A torn one counts as none: all that it says is in the ledger too."""
    try:
        return read_alias(root, model)
    except IntegrityError:
        return None


def _may_promote(entries: Entries, judge: JudgeVerdict, weights: str, *, forced: bool) -> None:
    challenger = judge.challenger_hash
    fix = "train another: add data, or change params.yaml"
    if challenger in history.withdrawn(entries):
        raise GateError(
            "this bundle was withdrawn by a rollback and is never promoted again", found=challenger, fix=fix
        )
    if weights in history.withdrawn_weights(entries):
        raise GateError(
            "these training weights were withdrawn by a rollback and are never promoted again, in whatever bundle",
            found=weights,
            fix=fix,
        )
    if forced:
        return
    if judge.verdict != "promote":
        raise GateError(f"the judge rejected it: {judge.reason}", found=challenger)
    current = history.champion(entries)
    in_service = current.bundle_hash if current else None
    if in_service not in (judge.champion_hash, challenger):
        raise GateError(
            f"it was judged against {_short(judge.champion_hash)}, but {_short(in_service)} is in service",
            fix="run again: finetide run",
        )


def _target(entries: Entries, model: str, to: str | None) -> LedgerEntry:
    current, known = history.champion(entries), history.versions(entries)
    if current is None:
        raise InputError(
            "nothing is in service, so there is nothing to roll back", where=model, fix=f"finetide run {model}"
        )
    if to is None:
        target = history.previous_champion(entries)
        if target is None:
            raise InputError(
                f"there is no champion before {current.version} to go back to",
                where=model,
                fix=f"see finetide history {model}",
            )
        return target
    if to not in known:
        raise InputError("has no such version", where=model, found=to, fix=f"versions: {', '.join(known)}")
    target = known[to]
    if target.bundle_hash == current.bundle_hash:
        raise InputError(f"{to} is in service already", where=model, fix=f"see finetide history {model}")
    if history.is_withdrawn(entries, target.bundle_hash, target.hashes.get("weights")):
        raise GateError(f"{to} was withdrawn and cannot come back", fix="choose another: finetide history")
    return target


def _name_in(folder: Path, file: str) -> str:
    if not (folder / file).exists() and Path(file).resolve().is_relative_to(folder.resolve()):
        return Path(file).resolve().relative_to(folder.resolve()).as_posix()
    return Path(file).as_posix()


def _reason(text: str) -> str:
    if not text.strip():
        raise InputError("a reason is needed: the ledger says why", found=text, fix="say it in a few words after --why")
    return text.strip()


def _short(bundle_hash: str | None) -> str:
    return f"{bundle_hash[:12]}…" if bundle_hash else "no champion"
