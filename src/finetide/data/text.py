"""When two texts count as the same, and how a value is shown to a person."""

from __future__ import annotations

SHOWN_CHARACTERS = 80


def normalise(text: str) -> str:
    """Case folded, runs of whitespace made one space, ends stripped: texts equal after this are duplicates."""
    return " ".join(text.casefold().split())


def shown(value: object) -> str:
    """A value for a message or a report, on one line, cut at 80 characters; a missing one is ``(missing)``."""
    if not isinstance(value, str) and (value is None or value != value):
        return "(missing)"
    text = " ".join(str(value).splitlines())
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"
