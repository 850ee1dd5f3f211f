"""Entries of the ledger, and the alias file that says what is in service."""

from __future__ import annotations

from typing import Literal

from finetide.contracts.base import Contract
from finetide.contracts.window import Window

Event = Literal[
    "promoted",
    "rejected",
    "not-needed",
    "postponed",
    "halted",
    "approved",
    "refused",
    "rolled-back",
    "withdrawn",
    "excluded",
]


class LedgerEntry(Contract):
    """One entry. ``previous`` is the hash of the entry before it (null for the first), so that nothing can be taken
    out or changed unseen. ``time`` is UTC, ISO 8601. ``window`` is the window that the event is about."""

    schema_version: Literal[1] = 1
    sequence: int
    model: str
    event: Event
    time: str
    who: str
    reason: str
    version: str | None
    bundle_hash: str | None
    window: Window | None
    hashes: dict[str, str]
    previous: str | None


class Alias(Contract):
    """serving/MODEL/champion.json. ``bundle`` is relative to the project's folder."""

    schema_version: Literal[1] = 1
    model: str
    alias: Literal["champion"] = "champion"
    version: str
    hash: str
    bundle: str
    since: str
    entry: int
