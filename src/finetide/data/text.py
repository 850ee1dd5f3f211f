"""When two texts count as the same, and how a value is shown to a person."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from hashlib import blake2b
from typing import Any, overload

import numpy as np
import pandas as pd

from finetide.data.memory import give_back

Array = np.ndarray[Any, np.dtype[Any]]
CHUNK_ROWS = 1 << 14
SHOWN_CHARACTERS = 80


def normalise(text: str) -> str:
    """Case folded, runs of whitespace made one space, ends stripped: texts equal after this are duplicates."""
    return " ".join(text.casefold().split())


def blocks(texts: pd.Series[str]) -> Iterator[tuple[int, list[str]]]:
    """(first position, texts), so few that their Python strings do not count."""
    for start in range(0, len(texts), CHUNK_ROWS):
        yield start, list(texts.iloc[start : start + CHUNK_ROWS])


class Normalised(Sequence[str]):
    """`normalise` of some texts, made where it is read: a column of them would be as large as that of the texts."""

    def __init__(self, texts: pd.Series[str], rows: Array) -> None:
        """Args: rows: positions in ``texts``, ascending."""
        self._texts: Any = texts.array
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, at: int) -> str: ...

    @overload
    def __getitem__(self, at: slice) -> list[str]: ...

    def __getitem__(self, at: int | slice) -> str | list[str]:
        if not isinstance(at, slice):
            return normalise(self._texts[int(self._rows[at])])
        rows = self._rows[at]
        if not len(rows):
            return []
        # Taking from the whole column would copy it.
        between = self._texts[int(rows[0]) : int(rows[-1]) + 1]
        return [normalise(text) for text in between.take(rows - rows[0])]


@dataclass(frozen=True)
class Contents:
    """Which texts are the same. ``of_row``: the number of each row's text, int32, the oldest text
    being 0; ``first``: its oldest row; ``empty``: the number of the empty text, or -1."""

    of_row: Array
    first: Array
    empty: int


def contents(texts: pd.Series[str], same: Callable[[str], str] = normalise) -> Contents:
    """Which texts are equal after ``same``. They are told apart by 128 bits of BLAKE2b: of a million different ones
    two are taken for the same with a chance of 1 in 10^27."""
    high, low, empty = np.empty(len(texts), np.uint64), np.empty(len(texts), np.uint64), -1
    for start, some in blocks(texts):
        normal = [same(text) for text in some]
        # JSON's half characters are refused on the way in; here they would be a fault of ours, and no crash.
        digests = [blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest() for text in normal]
        words = np.frombuffer(b"".join(digests), np.uint64)
        high[start : start + len(some)], low[start : start + len(some)] = words[::2], words[1::2]
        if empty < 0 and "" in normal:
            empty = start + normal.index("")
    of_row, first = _numbered(high, low)
    give_back()
    return Contents(of_row, first, int(of_row[empty]) if empty >= 0 else -1)


def _numbered(high: Array, low: Array) -> tuple[Array, Array]:
    """(number of each key by age, int32; where each stands first)."""
    # Stable: of equal keys the oldest comes first.
    order = np.lexsort((low, high)).astype(np.int32)
    fresh = np.ones(len(order), bool)
    fresh[1:] = np.diff(high[order]) != 0
    fresh[1:] |= np.diff(low[order]) != 0
    first = order[fresh]
    by_age = np.argsort(first)
    number = np.empty(len(first), np.int32)
    number[by_age] = np.arange(len(first), dtype=np.int32)
    of_row = np.empty(len(order), np.int32)
    of_row[order] = number[np.cumsum(fresh, dtype=np.int32) - 1]
    return of_row, first[by_age]


def shown(value: object) -> str:
    """A value for a message or a report, on one line, cut at 80 characters; a missing one is ``(missing)``."""
    if not isinstance(value, str) and (value is None or value != value):
        return "(missing)"
    text = " ".join(str(value).splitlines())
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def nearest(word: str, known: Sequence[str]) -> str | None:
    """The one of ``known`` that was probably meant: equal but for case and spaces, or spelled nearly alike; and 16 for
    16.0, which data frames make of a number in a column with gaps."""
    if word.endswith(".0") and word[:-2] in known:
        return word[:-2]
    plain = {candidate.strip().casefold(): candidate for candidate in reversed(known)}
    matches = get_close_matches(word.strip().casefold(), list(plain), n=1, cutoff=0.8)
    return plain[matches[0]] if matches else None
