"""Which rows to label first: what the champion does not know, what incoming rows are like, and no two alike."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def uncertainty(probabilities: Array) -> Array:
    """1 less the lead of the likeliest label over the second (Scheffer, Decomain and Wrobel 2001), [rows], 0 to 1.

    Args: probabilities [rows, labels].
    """
    if probabilities.shape[1] < 2:
        return np.zeros(len(probabilities))
    top = np.sort(probabilities, axis=1)[:, -2:]
    found: Array = 1.0 - (top[:, 1] - top[:, 0])
    return found


def choose(value: Array, features: Array, known: Array, count: int) -> list[int]:
    """Rows in the order in which they should be labelled: each next one has the highest value times its distance to
    the nearest row that is chosen or labelled already (a greedy cover, as in Sener and Savarese 2018, weighted).

    Args:
        value: [rows], what a label would tell, at least 0. features: [rows, hidden], and known: [labelled, hidden].
        count: rows that are wanted; all are returned where there are fewer.
    """
    mine, theirs = (_of_length_one(part) for part in (features, known))
    distance = np.full(len(mine), 2.0)
    if len(theirs):
        distance = np.minimum(distance, 1.0 - (mine @ theirs.T).max(axis=1))
    chosen: list[int] = []
    left = np.ones(len(mine), dtype=bool)
    for _ in range(min(count, len(mine))):
        # Copies of a chosen row come last, in the order of their value.
        worth = np.where(left, value * np.maximum(distance, 1e-9) + 1e-12 * value, -1.0)
        best = int(worth.argmax())
        chosen.append(best)
        left[best] = False
        distance = np.minimum(distance, 1.0 - mine @ mine[best])
    return chosen


def _of_length_one(features: Array) -> Array:
    lengths = np.linalg.norm(features, axis=1, keepdims=True) if len(features) else np.ones((0, 1))
    found: Array = features / np.maximum(lengths, 1e-12)
    return found
