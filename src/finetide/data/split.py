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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from finetide.config.split import SplitParams
from finetide.contracts.rows import SPLITS, Split
from finetide.data.near import NearPairs, near_pairs
from finetide.data.progress import bar
from finetide.data.table import SCHEMA
from finetide.data.text import CHUNK_ROWS, Normalised, contents

# Two texts count as near duplicates from this Jaccard similarity of their 5-grams on. No setting: with another value
# rows would change sides.
NEAR = 0.8
Array = np.ndarray[Any, np.dtype[Any]]
# No side, where sides are positions in SPLITS.
NONE = -1
TEXT_KEY, GROUP_KEY = "text\x1f", "group\x1f"


@dataclass(frozen=True)
class Texts:
    """The distinct normalised texts, oldest first, and their near duplicates among each other.

    ``of_row``: position in ``distinct`` of each row's text.
    """

    distinct: Sequence[str]
    of_row: Array
    near: NearPairs


def texts_of(rows: pd.DataFrame) -> Texts:
    found = contents(rows["text"])
    distinct = Normalised(rows["text"], found.first)
    return Texts(distinct, found.of_row, near_pairs(distinct, NEAR))


def assign(rows: pd.DataFrame, texts: Texts, params: SplitParams, seed: int) -> pd.DataFrame:
    """``rows`` with the column ``split`` filled in; nothing else changes.

    Args:
        rows: canonical columns, in the order of the window; ``split`` holds what the user gave, or is missing.
        texts: `texts_of` these rows.
    """
    keys, names, count = _keys(rows, texts)
    given = sides_of(rows["split"])
    percents, of_text = _percents(names, count, seed)
    places = _Places(percents, params, _carved(given))
    files = pd.factorize(rows["file"])[0]
    links = _links(keys, of_text, texts)
    has_link = np.zeros(count, bool)
    has_link[list(links)] = True
    sides = np.full(count, NONE, np.int8)
    for file in range(files.max(initial=-1) + 1):
        here = np.flatnonzero(files == file)
        new, said = _fresh(keys[here], given[here], sides)
        linked = has_link[new]
        alone = new[~linked]
        sides[alone] = places.by_hashes(alone, said[~linked])
        fresh = {int(key): name_of(side) for key, side in zip(new[linked], said[linked], strict=True)}
        for family in _families(fresh, links):
            _place(family, fresh, links, places, sides)
    chosen = pd.Categorical.from_codes(places.keep(given, sides, keys), pd.Index(list(SPLITS)))
    return rows.assign(split=pd.Series(chosen, index=rows.index))


def sides_of(column: pd.Series[Any]) -> Array:
    """A column of splits as positions in SPLITS, int8, NONE where there is none."""
    codes, words = pd.factorize(column)
    side = np.array([*(SPLITS.index(word) for word in words), NONE], np.int8)
    return side[codes]


def name_of(side: int) -> Split | None:
    return None if side == NONE else SPLITS[side]


def _fresh(keys: Array, given: Array, sides: Array) -> tuple[Array, Array]:
    """The keys that a file brings, oldest row first, and what is given for each: by its oldest row that says it."""
    open_ = sides[keys] == NONE
    keys, given = keys[open_], given[open_]
    new = keys[~pd.Series(keys).duplicated().to_numpy()]
    # A row that says nothing leaves the word to the next of its key.
    spoken = given != NONE
    keys, given = keys[spoken], given[spoken]
    first = ~pd.Series(keys).duplicated().to_numpy()
    known = pd.Series(given[first], index=keys[first])
    said = known.reindex(new, fill_value=NONE).to_numpy() if len(known) else np.full(len(new), NONE, np.int8)
    return new, said


def _keys(rows: pd.DataFrame, texts: Texts) -> tuple[Array, Iterable[str], int]:
    """Key of each row, numbered by age; the keys' names, which are hashed; and how many these are."""
    if rows["group"].isna().all():
        blocks = (texts.distinct[start : start + CHUNK_ROWS] for start in range(0, len(texts.distinct), CHUNK_ROWS))
        return texts.of_row, (f"{TEXT_KEY}{text}" for block in blocks for text in block), len(texts.distinct)
    named = [
        f"{GROUP_KEY}{group}" if isinstance(group, str) else f"{TEXT_KEY}{texts.distinct[int(text)]}"
        for group, text in zip(rows["group"], texts.of_row, strict=True)
    ]
    codes, names = pd.factorize(np.array(named, dtype=object))
    return codes.astype(np.int32), [str(name) for name in names], len(names)


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


def _carved(given: Array) -> frozenset[Split]:
    """The sides that are taken from given train rows, because no row is given to them."""
    seen = {name_of(side) for side in np.unique(given)}
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

    def by_hashes(self, keys: Array, given: Array) -> Array:
        """`by_hash` of each key, with what `allowed` says of its given side."""
        made = np.empty(len(keys), np.int8)
        for said in np.unique(given):
            allowed, at = self.allowed(name_of(said)), given == said
            percents = self.percents[keys[at]]
            test = percents < self.params.test_percent
            validation = ~test & (percents < self.params.test_percent + self.params.validation_percent)
            made[at] = SPLITS.index(next(iter(allowed))) if len(allowed) == 1 else SPLITS.index("train")
            if len(allowed) > 1:
                for side, here in (("test", test), ("validation", validation)):
                    if side in allowed:
                        made[np.flatnonzero(at)[here]] = SPLITS.index(side)
        return made

    def keep(self, given: Array, sides: Array, keys: Array) -> Array:
        """The side of each row: its key's, unless the user gave the row another."""
        made = sides[keys]
        for said in np.unique(given):
            allowed = [SPLITS.index(side) for side in self.allowed(name_of(said))]
            apart = np.flatnonzero((given == said) & ~np.isin(made, allowed))
            made[apart] = self.by_hashes(keys[apart], given[apart])
        return made


def _links(keys: Array, is_text: Array, texts: Texts) -> dict[int, set[int]]:
    """Keys of rows without a group that have near-duplicate texts."""
    linked = np.isin(texts.of_row, np.concatenate([texts.near.older, texts.near.newer])) & is_text[keys]
    of_text = dict(zip(texts.of_row[linked].tolist(), keys[linked].tolist(), strict=True))
    links: dict[int, set[int]] = {}
    for older, newer in zip(texts.near.older.tolist(), texts.near.newer.tolist(), strict=True):
        if older in of_text and newer in of_text:
            links.setdefault(of_text[older], set()).add(of_text[newer])
            links.setdefault(of_text[newer], set()).add(of_text[older])
    return links


def _families(fresh: Mapping[int, str | None], links: dict[int, set[int]]) -> Iterator[list[int]]:
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
    fresh: Mapping[int, str | None],
    links: dict[int, set[int]],
    places: _Places,
    sides: Array,
) -> None:
    """Give each key of a family its side, the same one as far as given splits allow."""
    elders = [other for key in family for other in links.get(key, ()) if other not in fresh and sides[other] != NONE]
    leading: dict[frozenset[Split], Split] = {}
    leader = name_of(sides[min(elders)]) if elders else None
    for key in family:
        allowed = places.allowed(fresh[key])
        if leader is not None and leader in allowed:
            side = leader
        else:
            side = leading.get(allowed) or places.by_hash(key, allowed)
        leading.setdefault(allowed, side)
        leader = leader or side
        sides[key] = SPLITS.index(side)


class _TextContents:
    """See `finetide.data.kinds.Contents`."""

    schema = SCHEMA
    shows = "text"
    words = ("text", "texts", f"share {NEAR:.0%} or more of their 5-grams")

    def of(self, rows: pd.DataFrame) -> Texts:
        return texts_of(rows)


CONTENTS = _TextContents()
