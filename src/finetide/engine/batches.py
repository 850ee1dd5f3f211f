"""Which rows go together: batches of like length, under a budget of padded tokens."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import numpy as np

Ints = np.ndarray[Any, Any]

# Batches that are filled at a time where groups are kept apart: more of them keep larger groups apart, and mix lengths.
OPEN = 8


def by_length(lengths: Ints, budget: int) -> Iterator[list[int]]:
    """All rows, longest first (so that running out of memory shows at once), a batch holding at most ``budget``
    padded tokens, and at least one row."""
    order = np.argsort(-lengths, kind="stable")
    yield from cut(order.tolist(), lengths, budget)


def cut(order: Sequence[int], lengths: Ints, budget: int, *, packed: bool = False) -> Iterator[list[int]]:
    """Cut ``order`` into runs of at most ``budget`` tokens, and at least one row.

    Args: packed: count the rows' own tokens; else what padding makes of them, rows × longest.
    """
    batch: list[int] = []
    longest = tokens = 0
    for place in order:
        length = int(lengths[place])
        size = tokens + length if packed else max(longest, length) * (len(batch) + 1)
        if batch and size > budget:
            yield batch
            batch, longest, tokens = [], 0, 0
        batch.append(place)
        longest, tokens = max(longest, length), tokens + length
    if batch:
        yield batch


def epoch(
    lengths: Ints, rows: int, rng: np.random.Generator, *, groups: Sequence[Hashable] = (), pool: int = 50
) -> list[list[int]]:
    """Batches of ``rows`` rows for one pass, in random order, of like length.

    Rows are shuffled, then sorted by length within pools of ``pool`` batches, so that padding is small and every epoch
    mixes anew; then the batches are shuffled. Every row comes exactly once.

    Args: groups: one a row, or none at all; rows of a group, which are of like length because they are of like content,
        come in different batches where they can: a step on one passage's questions learns that passage.
    """
    shuffled = rng.permutation(len(lengths))
    batches: list[list[int]] = []
    for start in range(0, len(shuffled), rows * pool):
        part = shuffled[start : start + rows * pool]
        part = part[np.argsort(lengths[part], kind="stable")]
        order = _apart(part.tolist(), groups, rows) if groups else part.tolist()
        batches += [order[first : first + rows] for first in range(0, len(order), rows)]
    return [batches[place] for place in rng.permutation(len(batches))]


def _apart(order: list[int], groups: Sequence[Hashable], rows: int) -> list[int]:
    """``order`` moved about so that a run of ``rows`` holds a group once: each row goes into the first open batch that
    has none of its group, into the oldest where all have one."""
    full: list[int] = []
    opened: list[list[int]] = []
    for row in order:
        free = [batch for batch in opened if groups[row] not in {groups[other] for other in batch}]
        if not free and len(opened) < OPEN:
            opened.append([])
            free = opened[-1:]
        chosen = (free or opened)[0]
        chosen.append(row)
        if len(chosen) == rows:
            full += chosen
            opened = [batch for batch in opened if batch is not chosen]
    return full + [row for batch in opened for row in batch]


def padding(lengths: Ints, batches: Sequence[Sequence[int]]) -> float:
    """Share of padding among the tokens of padded batches, 0 to 1."""
    padded = sum(len(batch) * int(lengths[np.asarray(batch)].max()) for batch in batches)
    return 1.0 - sum(int(lengths[np.asarray(batch)].sum()) for batch in batches) / max(padded, 1)
