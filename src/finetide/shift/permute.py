"""Who is compared with whom under the null hypothesis: the same draws for every statistic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def assignments(sides: Array, draws: int, rng: np.random.Generator, groups: Sequence[str] | None = None) -> Array:
    """The observed sides and ``draws`` permutations of them, [draws + 1, rows] bool, True for incoming.

    Rows of one group move together: dependent rows carry less evidence than as many independent ones. Then group
    labels are permuted, so that a group keeps its size and the share of incoming rows varies from draw to draw.

    Args: sides: [rows] bool. groups: one a row, or None when rows are independent.
    """
    found = np.empty((draws + 1, len(sides)), dtype=bool)
    found[0] = sides
    if groups is None:
        for draw in range(1, draws + 1):
            found[draw] = rng.permutation(sides)
        return found
    _, member = np.unique(np.asarray([f"{group}\x1f{side}" for group, side in zip(groups, sides, strict=True)]),
                          return_inverse=True)  # fmt: skip
    first = np.unique(member, return_index=True)[1]
    of_group = sides[first]
    for draw in range(1, draws + 1):
        found[draw] = rng.permutation(of_group)[member]
    return found


def p_values(values: Array) -> Array:
    """For each draw (the observed one at 0) the share of all draws that are at least as extreme: (k + 1) / (n + 1).

    The observed one counts among its draws, so that p is never 0 (Phipson & Smyth 2010).

    Args: values: [draws + 1], larger is more extreme.
    """
    ordered = np.sort(values)
    at_least = len(values) - np.searchsorted(ordered, values - 1e-12 * np.abs(values).max(initial=0.0), side="left")
    shares: Array = at_least / len(values)
    return shares


def combine(columns: Sequence[Array]) -> float:
    """One p-value for several statistics over the same draws, at the promised rate however they depend on each other.

    Min-p of Westfall & Young 1993: a draw is extreme when its smallest p-value is small. With n draws the smallest
    possible p ties between the observed sides and the most extreme draw of each statistic; such ties are broken by the
    largest standardised statistic. Both keys treat the observed sides like any draw, so the test stays exact.
    """
    smallest = np.min(np.stack([p_values(column) for column in columns]), axis=0)
    largest = np.max(np.stack([_standardised(column) for column in columns]), axis=0)
    as_extreme = (smallest < smallest[0]) | ((smallest == smallest[0]) & (largest >= largest[0]))
    return float(as_extreme.mean())


def _standardised(values: Array) -> Array:
    deviation = float(values.std())
    standard: Array = (values - values.mean()) / (deviation or 1.0)
    return standard
