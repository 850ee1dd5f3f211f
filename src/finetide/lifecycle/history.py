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
    """What was in service at ``time`` (ISO 8601). Raises: InputError when it is no time."""
    parse(time, where="--at")
    entry = history.in_service_at(ledger.read(root, model), time)
    if entry is None:
        return f"{model}: nothing was in service at {time}"
    return f"{model}: {entry.version} ({(entry.bundle_hash or '')[:12]}) since {entry.time}: {entry.reason}"
