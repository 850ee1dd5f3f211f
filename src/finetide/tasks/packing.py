"""Several texts in one row of a batch instead of padding; no text sees another (Krell et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch


def pack(texts: Sequence[Sequence[int]], width: int, padding: int, first: int) -> dict[str, torch.Tensor]:
    """Lay token ids behind one another.

    Args:
        width: tokens a row; a longer text has a row of its own, and makes the others as long.
        padding: the token's id.
        first: a text's first position.

    Returns:
        ``input_ids``, ``positions`` and ``segments`` [rows, longest], where ``segments`` is the number of the text, -1
        at padding, and ``starts`` [texts], counted over all rows; int64.
    """
    rows = shelve([len(tokens) for tokens in texts], width)
    longest = max(sum(len(texts[place]) for place in row) for row in rows)
    ids = np.full((len(rows), longest), padding, dtype=np.int64)
    positions, segments = np.full_like(ids, first), np.full_like(ids, -1)
    starts = np.zeros(len(texts), dtype=np.int64)
    for number, row in enumerate(rows):
        at = 0
        for place in row:
            end = at + len(texts[place])
            ids[number, at:end], segments[number, at:end] = texts[place], place
            positions[number, at:end] = np.arange(first, first + end - at)
            starts[place] = number * longest + at
            at = end
    made = {"input_ids": ids, "positions": positions, "segments": segments, "starts": starts}
    return {name: torch.from_numpy(value) for name, value in made.items()}


def shelve(lengths: Sequence[int], width: int) -> list[list[int]]:
    """Rows of at most ``width`` tokens, as few as first-fit decreasing finds; what is longer is alone.

    Returns: places in ``lengths``, by row.
    """
    rows: list[list[int]] = []
    free: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        for number, room in enumerate(free):
            if lengths[place] <= room:
                rows[number].append(place)
                free[number] -= lengths[place]
                break
        else:
            rows.append([place])
            free.append(width - lengths[place])
    return rows
