"""Time, in UTC. Only the ledger, the alias and approvals hold any; whoever writes one takes the clock as argument."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from finetide.errors import InputError

Clock = Callable[[], str]


def utc_now() -> str:
    """ISO 8601 with seconds, e.g. ``2026-11-20T09:00:00+00:00``."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def parse(time: str, *, where: str | None = None) -> datetime:
    """A time or date as a person writes it; without a zone it is UTC. Raises: InputError."""
    try:
        moment = datetime.fromisoformat(time)
    except ValueError as error:
        raise InputError(
            "is not a time", where=where, found=time, fix="write it like 2026-11-20 or 2026-11-20T09:00:00Z"
        ) from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def not_before(time: str, earliest: str | None) -> str:
    """The later of both, as UTC text: a clock that was set back must not disorder the ledger."""
    moment = parse(time)
    return max(moment, parse(earliest) if earliest else moment).isoformat(timespec="seconds")
