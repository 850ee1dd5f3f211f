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
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from finetide.config.split import SplitParams
from finetide.contracts.rows import SPLITS, Split
from finetide.data.near import NearPairs, near_pairs
from finetide.data.text import normalise

# Two texts count as near duplicates from this Jaccard similarity of their 5-grams on. No setting: with another value
# rows would change sides.
NEAR = 0.8
TEXT_KEY, GROUP_KEY = "text\x1f", "group\x1f"


@dataclass(frozen=True)
class Texts:
    """The distinct normalised texts, oldest first, and their near duplicates among each other.

    ``of_row``: position in ``distinct`` of each row's text.
    """

    distinct: list[str]
    of_row: np.ndarray[tuple[int], np.dtype[np.int64]]
    near: NearPairs


def texts_of(rows: pd.DataFrame) -> Texts:
    codes, distinct = pd.factorize(np.array([normalise(text) for text in rows["text"]], dtype=object))
    words = [str(text) for text in distinct]
    return Texts(words, codes.astype(np.int64), near_pairs(words, NEAR))


def assign(rows: pd.DataFrame, texts: Texts, params: SplitParams, seed: int) -> pd.DataFrame:
    """``rows`` with the column ``split`` filled in; nothing else changes.

    Args:
        rows: canonical columns, in the order of the window; ``split`` holds what the user gave, or is missing.
        texts: `texts_of` these rows.
    """
    keys, names = _keys(rows, texts)
    given = [split if isinstance(split, str) else None for split in rows["split"]]
    places = _Places(names, params, seed, _carved(given))
    files = pd.factorize(rows["file"])[0]
    links = _links(keys, names, texts)
    sides: dict[int, Split] = {}
    for file in range(files.max(initial=-1) + 1):
        # The key's own given split is that of its oldest row in the file that brings it.
        fresh: dict[int, str | None] = {}
        for row in np.flatnonzero(files == file):
            key = int(keys[row])
            if key not in sides and fresh.get(key) is None:
                fresh[key] = given[row]
        for family in _families(fresh, links):
            _place(family, fresh, links, places, sides)
    chosen = [places.keep(split, sides[int(key)], int(key)) for key, split in zip(keys, given, strict=True)]
    return rows.assign(split=pd.Series(chosen, index=rows.index, dtype=rows["split"].dtype))


def _keys(rows: pd.DataFrame, texts: Texts) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], list[str]]:
    """Key of each row, numbered by age, and the keys' names, which are hashed."""
    named = [
        f"{GROUP_KEY}{group}" if isinstance(group, str) else f"{TEXT_KEY}{texts.distinct[text]}"
        for group, text in zip(rows["group"], texts.of_row, strict=True)
    ]
    codes, names = pd.factorize(np.array(named, dtype=object))
    return codes.astype(np.int64), [str(name) for name in names]


def _carved(given: Sequence[str | None]) -> frozenset[Split]:
    """The sides that are taken from given train rows, because no row is given to them."""
    seen = set(given)
    return frozenset(side for side in ("validation", "test") if side not in seen) if "train" in seen else frozenset()


@dataclass(frozen=True)
class _Places:
    names: list[str]
    params: SplitParams
    seed: int
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
        digest = hashlib.sha256(f"{self.seed}\x1f{self.names[key]}".encode()).digest()
        percent = 100 * int.from_bytes(digest[:8], "big") / 2**64
        test, validation = self.params.test_percent, self.params.validation_percent
        side: Split = "test" if percent < test else "validation" if percent < test + validation else "train"
        return side if side in allowed else "train"

    def keep(self, given: str | None, side: Split, key: int) -> Split:
        """The side of a row: its key's, unless the user gave the row another."""
        allowed = self.allowed(given)
        return side if side in allowed else self.by_hash(key, allowed)


def _links(keys: np.ndarray[tuple[int], np.dtype[np.int64]], names: Sequence[str], texts: Texts) -> dict[int, set[int]]:
    """Keys of rows without a group that have near-duplicate texts."""
    of_text = {
        text: key
        for key, text in zip(keys.tolist(), texts.of_row.tolist(), strict=True)
        if names[key].startswith(TEXT_KEY)
    }
    links: dict[int, set[int]] = {}
    for older, newer in zip(texts.near.older.tolist(), texts.near.newer.tolist(), strict=True):
        if older in of_text and newer in of_text:
            links.setdefault(of_text[older], set()).add(of_text[newer])
            links.setdefault(of_text[newer], set()).add(of_text[older])
    return links


def _families(fresh: dict[int, str | None], links: dict[int, set[int]]) -> list[list[int]]:
    """The keys of one file in families, both oldest first."""
    seen: set[int] = set()
    families: list[list[int]] = []
    for first in fresh:
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
        families.append(sorted(family))
    return families


def _place(
    family: list[int],
    fresh: dict[int, str | None],
    links: dict[int, set[int]],
    places: _Places,
    sides: dict[int, Split],
) -> None:
    """Give each key of a family its side, the same one as far as given splits allow."""
    elders = [other for key in family for other in links.get(key, ()) if other not in fresh and other in sides]
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
