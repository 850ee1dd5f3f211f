"""Questions about the ledger: plain functions of its entries, oldest first."""

from __future__ import annotations

import re
from collections.abc import Sequence

from finetide.contracts.ledger import LedgerEntry
from finetide.contracts.window import Window
from finetide.files import canonical_json, sha256_bytes
from finetide.registry.clock import parse

Entries = Sequence[LedgerEntry]

MOVES = ("promoted", "rolled-back")
JUDGED = ("promoted", "rejected", "not-needed")


def window_hash(window: Window) -> str:
    """SHA-256 of window.json as it is written."""
    return sha256_bytes(canonical_json(window.model_dump(mode="json")))


def last_move(entries: Entries) -> LedgerEntry | None:
    """The promotion or rollback that put into service what is in service."""
    return next((entry for entry in reversed(entries) if entry.event in MOVES), None)


def promotion(entries: Entries, bundle_hash: str | None) -> LedgerEntry | None:
    """The newest promotion of a bundle: its version, its window, what it was trained on."""
    found = (entry for entry in reversed(entries) if entry.event == "promoted" and entry.bundle_hash == bundle_hash)
    return next(found, None)


def champion(entries: Entries) -> LedgerEntry | None:
    """The promotion of what is in service; after a rollback that of the version gone back to."""
    move = last_move(entries)
    return promotion(entries, move.bundle_hash) if move else None


def until(entries: Entries, time: str) -> list[LedgerEntry]:
    """The ledger as it was at ``time``, entries of that very second included. Raises: InputError for no time."""
    moment = parse(time)
    return [entry for entry in entries if parse(entry.time) <= moment]


def previous_champion(entries: Entries) -> LedgerEntry | None:
    """What a rollback goes back to: the newest promotion before the champion's own that is not withdrawn."""
    current = champion(entries)
    if current is None:
        return None
    earlier = (entry for entry in reversed(entries) if entry.sequence < current.sequence and entry.event == "promoted")
    others = (entry for entry in earlier if entry.bundle_hash != current.bundle_hash)
    found = (one for one in others if not is_withdrawn(entries, one.bundle_hash, one.hashes.get("weights")))
    return next(found, None)


def withdrawn(entries: Entries) -> set[str]:
    """Hashes of bundles that a rollback left: they are never promoted again."""
    return {entry.bundle_hash for entry in entries if entry.event == "withdrawn" and entry.bundle_hash}


def withdrawn_weights(entries: Entries) -> set[str]:
    """Hashes of the training weights that a rollback left. Another model card or calibration around them makes another
    bundle hash, and the same model.

    A rollback between two bundles of the same weights found fault with what is around them: those weights stay.
    """
    found = set()
    for place, entry in enumerate(entries):
        if entry.event != "withdrawn":
            continue
        left = weights_of(entries, entry.bundle_hash)
        back = next((later for later in entries[place + 1 :] if later.event in MOVES), None)
        if left and (back is None or weights_of(entries, back.bundle_hash) != left):
            found.add(left)
    return found


def is_withdrawn(entries: Entries, bundle_hash: str | None, weights: str | None) -> bool:
    """Whether a bundle made of these training weights was withdrawn, itself or by its weights.

    Args: weights: see `registry.store.weights_hash`; None where they are not known.
    """
    return bundle_hash in withdrawn(entries) or weights in withdrawn_weights(entries)


def weights_of(entries: Entries, bundle_hash: str | None) -> str | None:
    """Hash of the training weights behind a promoted bundle; None for one that never was promoted."""
    found = promotion(entries, bundle_hash)
    return found.hashes.get("weights") if found else None


def excluded(entries: Entries) -> dict[str, LedgerEntry]:
    """SHA-256 of each excluded file → the entry that excluded it. By bytes: another name does not bring them back."""
    return {sha256: entry for entry in entries if entry.event == "excluded" for sha256 in entry.hashes.values()}


def versions(entries: Entries) -> dict[str, LedgerEntry]:
    """Version → its newest promotion, in the order of first promotion."""
    return {entry.version: entry for entry in entries if entry.event == "promoted" and entry.version}


def version_number(version: str | None) -> int:
    """``v7`` → 7; 0 for anything else."""
    match = re.fullmatch(r"v([1-9]\d*)", version or "")
    return int(match[1]) if match else 0


def already_judged(entries: Entries, judged_window_hash: str) -> LedgerEntry | None:
    """The newest decision (promoted, rejected, not needed) about exactly this window: nothing to retry until it moves.

    Args: judged_window_hash: see `window_hash`.
    """
    decided = (entry for entry in reversed(entries) if entry.event in JUDGED and entry.window)
    return next((entry for entry in decided if entry.window and window_hash(entry.window) == judged_window_hash), None)


def known_files(entries: Entries, current: LedgerEntry) -> set[tuple[str, str]]:
    """Path and SHA-256 of the files that the champion ``current`` knows: what it was trained on, and what was
    acknowledged as harmless by comparison with it.

    An acknowledgement says "like what this champion knows", so it counts for the champion that its window pins,
    whenever it was made, and for no other: after a rollback to v1 those made while v2 was in service do not count.
    """
    known = set(_files(current.window, "reference", "incoming"))
    for entry in entries:
        pin = entry.window.champion if entry.window else None
        if entry.event == "not-needed" and pin and pin.hash == current.bundle_hash:
            known.update(_files(entry.window, "incoming"))
    return known


def _files(window: Window | None, *roles: str) -> list[tuple[str, str]]:
    return [(file.path, file.sha256) for file in (window.files if window else ()) if file.role in roles]
