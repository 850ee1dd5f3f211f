"""Cron lines, recurrence rules and time zones, checked before Prefect's server has them.

The server computes the next dates of every schedule again and again. A rule that never comes, or that comes a hundred
million times, keeps it busy for good and fills the memory; a date that it cannot compute ends its scheduler. So each is
refused here. Nothing depends on the day of the check: a schedule that has run out is still a schedule.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

# Field of a cron line: its name, lowest and highest number, and the names that may stand for numbers.
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of the month", 1, 31, {}),
    ("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, start=1)}),
    ("day of the week", 0, 7, {name: number for number, name in enumerate(_DAYS)}),
)
_MONTH_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
# Prefect's own: the longest rule, and where one without DTSTART begins.
LONGEST_RULE, ANCHOR = 6500, datetime(2020, 1, 1)
# The 29th of February is eight years away at most.
HORIZON = timedelta(days=9 * 366)
MOST_MINUTES = 12
# Files of the zone database that the server does not take for zones.
_NO_ZONES = frozenset({"Factory", "localtime", "posixrules"})
_NO_ZONE_FOLDERS = ("posix/", "right/")


def check_zone(timezone: str) -> None:
    """Raises: ValueError for what is no zone of the IANA's, or one that the server does not take."""
    try:
        ZoneInfo(timezone)
        known = timezone not in _NO_ZONES and not timezone.startswith(_NO_ZONE_FOLDERS)
    except (KeyError, ValueError, OSError):
        known = False
    if not known:
        raise ValueError("must be a time zone as the IANA names it, e.g. UTC or Europe/Berlin")


def check_cron(line: str) -> None:
    """Raises: ValueError naming the field at fault. What passes, croniter in Prefect's server takes too."""
    parts = line.split()
    if len(parts) != len(_FIELDS):
        raise ValueError(f"must have five fields, it has {len(parts)}: minute, hour, day, month, day of the week")
    _, _, days, months, _ = (_values(part, field) for part, field in zip(parts, _FIELDS, strict=True))
    # With a day of the week beside it either day should be enough; croniter finds neither.
    if days and min(days) > max(_MONTH_DAYS[month - 1] for month in months or range(1, 13)):
        raise ValueError(f"never comes: no month of {parts[3]!r} has a day {min(days)}")


def _values(part: str, field: tuple[str, int, int, dict[str, int]]) -> set[int]:
    """The numbers that a field names; empty where it begins with a star, for all of them."""
    name, low, high, names = field
    found: set[int] = set()
    for item in part.split(","):
        span, slash, step = item.partition("/")
        if slash and not (step.isascii() and step.isdigit() and int(step) > 0):
            raise ValueError(f"{name}: the step after / must be a whole number above 0, in {item!r}")
        if span == "*":
            continue
        first, dash, last = span.partition("-")
        ends = [_number(end, name, low, high, names) for end in ([first, last] if dash else [first])]
        if ends != sorted(ends):
            raise ValueError(f"{name}: {span!r} ends before it begins")
        if dash and ends[0] == ends[1]:  # croniter takes it for a star
            raise ValueError(f"{name}: {span!r} is one number, write {first!r}")
        found.update(range(ends[0], (ends[1] if dash else high if slash else ends[0]) + 1, int(step) if slash else 1))
    return set() if part.startswith("*") else found


def _number(text: str, name: str, low: int, high: int, names: dict[str, int]) -> int:
    number = names.get(text.lower(), int(text) if text.isascii() and text.isdigit() else -1)
    if not low <= number <= high:
        raise ValueError(f"{name}: {text!r} is not between {low} and {high}")
    return number


@cache  # params.yaml is read often
def check_rrule(text: str) -> None:
    """Raises: ValueError for what is no recurrence rule, or one that the server cannot follow for years."""
    if len(text) > LONGEST_RULE:
        raise ValueError(f"must have {LONGEST_RULE} signs at most, it has {len(text)}")
    from dateutil.rrule import rrule, rrulestr

    said = text.upper()
    try:
        found: Any = rrulestr(text, dtstart=None if "DTSTART" in said else ANCHOR)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise ValueError(f"must be a recurrence rule of RFC 5545: {_reason(error)}") from error
    if isinstance(found, rrule):
        rules, dates = [found], False
    else:
        if found._exrule:
            raise ValueError("EXRULE is no part of RFC 5545 any more: name the dates with EXDATE")
        rules, dates = found._rrule, bool(found._rdate)
    if "COUNT" in said and "DTSTART" not in said:
        raise ValueError("COUNT needs a DTSTART from which to count")
    comes = [_comes(rule) for rule in rules]
    if not any(comes) and not dates:
        raise ValueError("never comes")


def _reason(error: Exception) -> str:
    if isinstance(error, TypeError) and "freq" in str(error):
        return "FREQ is missing"
    if "UNTIL" in str(error):
        return "UNTIL must be written as DTSTART is, with Z or without; where there is no DTSTART, without"
    return str(error)


def _comes(rule: Any) -> bool:
    """Whether it has a first date. dateutil would look for one until the year 9999.

    Raises: ValueError for more dates than a server should compute.
    """
    from dateutil.rrule import HOURLY

    if rule._freq > HOURLY:
        raise ValueError("FREQ must be HOURLY or longer: every_minutes is for minutes, or BYMINUTE=0,15,30,45")
    if rule._interval < 1:
        raise ValueError(f"INTERVAL must be at least 1, it is {rule._interval}")
    if len(rule._byminute or ()) > MOST_MINUTES or len(rule._bysecond or ()) > 1:
        raise ValueError(f"BYMINUTE has at most {MOST_MINUTES} minutes and BYSECOND one second: use every_minutes")
    horizon = rule._dtstart + HORIZON
    until = min(rule._until, horizon) if rule._until else horizon
    return rule._count != 0 and next(iter(rule.replace(until=until, count=None)), None) is not None
