"""`finetide history`: the ledger for a person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from finetide.contracts.ledger import LedgerEntry
from finetide.registry import history, ledger
from finetide.registry.clock import parse


def entries_of(root: Path, model: str) -> list[LedgerEntry]:
    """Raises: IntegrityError when the chain is broken."""
    return ledger.read(root, model)


def as_lines(model: str, entries: Sequence[LedgerEntry]) -> Iterator[str]:
    if not entries:
        yield f"{model}: the ledger is empty; `finetide run {model}` makes the first entry"
        return
    yield f"{model}:"
    for entry in entries:
        version = f"{entry.version} " if entry.version else ""
        bundle = f"({entry.bundle_hash[:12]}) " if entry.bundle_hash else ""
        files = f"{', '.join(entry.hashes)}: " if entry.event == "excluded" else ""
        said = f"{version}{bundle}{files}{entry.reason}"
        yield f"  {entry.sequence:>4}  {entry.time}  {entry.event:<11} {said}  [{entry.who}]"


def service_at(root: Path, model: str, time: str) -> str:
    """What was in service at ``time`` (ISO 8601), since when, and why. Raises: InputError when it is no time."""
    parse(time, where="--at")
    entries = history.until(ledger.read(root, model), time)
    move, served = history.last_move(entries), history.champion(entries)
    if move is None or served is None:
        return f"{model}: nothing was in service at {time}"
    first = f" (promoted {served.time})" if move.event == "rolled-back" else ""
    bundle = (served.bundle_hash or "")[:12]
    return f"{model}: {served.version} ({bundle}) since {move.time}, {move.event}{first}: {move.reason} [{move.who}]"
