"""When two texts count as the same, and how a value is shown to a person."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

import pandas as pd
import pyarrow as pa

CHUNK_ROWS = 1 << 14
SHOWN_CHARACTERS = 80


def normalise(text: str) -> str:
    """Case folded, runs of whitespace made one space, ends stripped: texts equal after this are duplicates."""
    return " ".join(text.casefold().split())


def normalised(texts: pd.Series[str]) -> pd.Series[str]:
    """`normalise` of each text, few of them Python strings at a time; the index is that of ``texts``."""
    parts = [
        pa.array([normalise(text) for text in texts.iloc[start : start + CHUNK_ROWS]], pa.large_string())
        for start in range(0, len(texts), CHUNK_ROWS)
    ]
    made: pd.Series[str] = pa.chunked_array(parts, pa.large_string()).to_pandas()
    return made.set_axis(texts.index)


def shown(value: object) -> str:
    """A value for a message or a report, on one line, cut at 80 characters; a missing one is ``(missing)``."""
    if not isinstance(value, str) and (value is None or value != value):
        return "(missing)"
    text = " ".join(str(value).splitlines())
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def nearest(word: str, known: Sequence[str]) -> str | None:
    """The one of ``known`` that was probably meant: equal but for case and spaces, or spelled nearly alike."""
    plain = {candidate.strip().casefold(): candidate for candidate in reversed(known)}
    matches = get_close_matches(word.strip().casefold(), list(plain), n=1, cutoff=0.8)
    return plain[matches[0]] if matches else None
