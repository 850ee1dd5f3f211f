"""Which side a row is on: decided by its content, and never changed by rows that come later.

Rows with the same *key* stay together: rows of one group, or else rows of one normalised text. Keys are taken file by
file, in the order of the window, to which new files are appended. A key that an earlier file had keeps its side. The
new keys of a file that are linked by near-duplicate texts form a family; it follows the oldest key of an earlier file
that it is linked to, else its own oldest member; and a key that follows nobody is placed by its hash. So nothing
depends on what comes later. The price: a text that is near two older ones on different sides cannot be with both
(`data.leakage` reports it).

A group is placed by its hash alone: were groups tied together by texts they share, a "thank you" would soon tie all.

A split that the user gives stays. Where given rows lack validation or test altogether, that side is taken from the
given train rows, by hash; a file that brings the first given rows of such a side ends this for all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from finetide.config.split import SplitParams
from finetide.contracts.rows import SPLITS, Split
from finetide.data.near import NearPairs, near_pairs
from finetide.data.progress import bar
from finetide.data.text import CHUNK_ROWS, normalised

# Two texts count as near duplicates from this Jaccard similarity of their 5-grams on. No setting: with another value
# rows would change sides.
NEAR = 0.8
Array = np.ndarray[Any, np.dtype[Any]]
TEXT_KEY, GROUP_KEY = "text\x1f", "group\x1f"


@dataclass(frozen=True)
class Texts:
    """The distinct normalised texts, oldest first, and their near duplicates among each other.

    ``of_row``: position in ``distinct`` of each row's text.
    """

    distinct: Sequence[str]
    of_row: np.ndarray[tuple[int], np.dtype[np.int64]]
    near: NearPairs


def texts_of(rows: pd.DataFrame) -> Texts:
    codes, distinct = pd.factorize(normalised(rows["text"]))
    words: Any = distinct.array
    return Texts(words, codes.astype(np.int64), near_pairs(words, NEAR))


def assign(rows: pd.DataFrame, texts: Texts, params: SplitParams, seed: int) -> pd.DataFrame:
    """``rows`` with the column ``split`` filled in; nothing else changes.

    Args:
        rows: canonical columns, in the order of the window; ``split`` holds what the user gave, or is missing.
        texts: `texts_of` these rows.
    """
    keys, names, count = _keys(rows, texts)
    given = [split if isinstance(split, str) else None for split in rows["split"]]
    percents, of_text = _percents(names, count, seed)
    places = _Places(percents, params, _carved(given))
    files = pd.factorize(rows["file"])[0]
    links = _links(keys, of_text, texts)
    sides: list[Split | None] = [None] * count
    for file in range(files.max(initial=-1) + 1):
        # The key's own given split is that of its oldest row in the file that brings it.
        fresh: dict[int, str | None] = {}
        for row in np.flatnonzero(files == file):
            key = int(keys[row])
            if sides[key] is None and fresh.get(key) is None:
                fresh[key] = given[row]
        for family in _families(fresh, links):
            _place(family, fresh, links, places, sides)
    chosen = [places.keep(split, sides[key], key) for key, split in zip(keys.tolist(), given, strict=True)]
    return rows.assign(split=pd.Series(chosen, index=rows.index, dtype=rows["split"].dtype))


def _keys(rows: pd.DataFrame, texts: Texts) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], Iterable[str], int]:
    """Key of each row, numbered by age; the keys' names, which are hashed; and how many these are."""
    if rows["group"].isna().all():
        blocks = (texts.distinct[start : start + CHUNK_ROWS] for start in range(0, len(texts.distinct), CHUNK_ROWS))
        return texts.of_row, (f"{TEXT_KEY}{text}" for block in blocks for text in block), len(texts.distinct)
    named = [
        f"{GROUP_KEY}{group}" if isinstance(group, str) else f"{TEXT_KEY}{texts.distinct[int(text)]}"
        for group, text in zip(rows["group"], texts.of_row, strict=True)
    ]
    codes, names = pd.factorize(np.array(named, dtype=object))
    return codes.astype(np.int64), [str(name) for name in names], len(names)


def _percents(names: Iterable[str], count: int, seed: int) -> tuple[Array, Array]:
    """Where each key falls between 0 and 100 by its hash, and whether it is that of a text."""
    percents, of_text = np.empty(count), np.empty(count, bool)
    with bar("split: hashes", count, "text") as progress:
        for at, name in enumerate(names):
            digest = hashlib.sha256(f"{seed}\x1f{name}".encode()).digest()
            percents[at] = 100 * int.from_bytes(digest[:8], "big") / 2**64
            of_text[at] = name.startswith(TEXT_KEY)
            progress.update(1)
    return percents, of_text


def _carved(given: Sequence[str | None]) -> frozenset[Split]:
    """The sides that are taken from given train rows, because no row is given to them."""
    seen = set(given)
    return frozenset(side for side in ("validation", "test") if side not in seen) if "train" in seen else frozenset()


@dataclass(frozen=True)
class _Places:
    percents: Array
    params: SplitParams
    carved: frozenset[Split]

    def allowed(self, given: str | None) -> frozenset[Split]:
        """The sides that a key may be on: its given one, with those taken from train where that is train."""
        if given is None:
            return frozenset(SPLITS)
        side = next(split for split in SPLITS if split == given)
        return frozenset({side}) | self.carved if side == "train" else frozenset({side})

    def by_hash(self, key: int, allowed: frozenset[Split]) -> Split:
        if len(allowed) == 1:
            return next(iter(allowed))
        percent = self.percents[key]
        test, validation = self.params.test_percent, self.params.validation_percent
        side: Split = "test" if percent < test else "validation" if percent < test + validation else "train"
        return side if side in allowed else "train"

    def keep(self, given: str | None, side: Split | None, key: int) -> Split:
        """The side of a row: its key's, unless the user gave the row another."""
        allowed = self.allowed(given)
        return side if side is not None and side in allowed else self.by_hash(key, allowed)


def _links(keys: np.ndarray[tuple[int], np.dtype[np.int64]], is_text: Array, texts: Texts) -> dict[int, set[int]]:
    """Keys of rows without a group that have near-duplicate texts."""
    linked = np.isin(texts.of_row, np.concatenate([texts.near.older, texts.near.newer])) & is_text[keys]
    of_text = dict(zip(texts.of_row[linked].tolist(), keys[linked].tolist(), strict=True))
    links: dict[int, set[int]] = {}
    for older, newer in zip(texts.near.older.tolist(), texts.near.newer.tolist(), strict=True):
        if older in of_text and newer in of_text:
            links.setdefault(of_text[older], set()).add(of_text[newer])
            links.setdefault(of_text[newer], set()).add(of_text[older])
    return links


def _families(fresh: dict[int, str | None], links: dict[int, set[int]]) -> Iterator[list[int]]:
    """The keys of one file in families, both oldest first."""
    seen: set[int] = set()
    for first in fresh:
        if first not in links:
            yield [first]
            continue
        if first in seen:
            continue
        seen.add(first)
        family, waiting = [first], [first]
        while waiting:
            for other in links.get(waiting.pop(), ()):
                if other in fresh and other not in seen:
                    seen.add(other)
                    family.append(other)
                    waiting.append(other)
        yield sorted(family)


def _place(
    family: list[int],
    fresh: dict[int, str | None],
    links: dict[int, set[int]],
    places: _Places,
    sides: list[Split | None],
) -> None:
    """Give each key of a family its side, the same one as far as given splits allow."""
    elders = [
        other for key in family for other in links.get(key, ()) if other not in fresh and sides[other] is not None
    ]
    leading: dict[frozenset[Split], Split] = {}
    leader: Split | None = sides[min(elders)] if elders else None
    for key in family:
        allowed = places.allowed(fresh[key])
        if leader is not None and leader in allowed:
            side = leader
        else:
            side = leading.get(allowed) or places.by_hash(key, allowed)
        leading.setdefault(allowed, side)
        leader = leader or side
        sides[key] = side
