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


def in_service_at(entries: Entries, time: str) -> LedgerEntry | None:
    """The promotion of what was in service at ``time``; None before the first. Raises: InputError for no time."""
    moment = parse(time)
    return champion([entry for entry in entries if parse(entry.time) <= moment])


def previous_champion(entries: Entries) -> LedgerEntry | None:
    """What a rollback goes back to: the newest promotion before the champion's own that is not withdrawn."""
    current = champion(entries)
    if current is None:
        return None
    barred = withdrawn(entries) | {current.bundle_hash or ""}
    earlier = (entry for entry in reversed(entries) if entry.sequence < current.sequence and entry.event == "promoted")
    return next((entry for entry in earlier if entry.bundle_hash not in barred), None)


def withdrawn(entries: Entries) -> set[str]:
    """Hashes of bundles that a rollback left: they are never promoted again."""
    return {entry.bundle_hash for entry in entries if entry.event == "withdrawn" and entry.bundle_hash}


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
