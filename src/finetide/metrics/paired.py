"""Exact tests of two models on the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import binom

BoolArray = np.ndarray[Any, np.dtype[np.bool_]]


def mcnemar(first: BoolArray, second: BoolArray) -> float:
    """Two-sided exact p-value that two models are right equally often; 1 where they never differ.

    McNemar, Psychometrika 12 (1947), with the binomial distribution instead of its χ² limit: only rows on which
    exactly one model is right tell them apart, and under the null each is a fair coin.

    Args:
        first, second: whether each row is predicted right, shape [rows].
    """
    lost, gained = _discordant(first, second)
    return float(min(1.0, 2.0 * binom.cdf(min(lost, gained), lost + gained, 0.5)))


def mcnemar_worse(first: BoolArray, second: BoolArray) -> float:
    """One-sided exact p-value of the null that ``first`` is right at least as often as ``second``."""
    lost, gained = _discordant(first, second)
    return float(binom.sf(lost - 1, lost + gained, 0.5))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the order given: reject those up to alpha and the family-wise error is at most alpha.

    Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 6 (1979).
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def _discordant(first: BoolArray, second: BoolArray) -> tuple[int, int]:
    """Rows that only the second has right, and rows that only the first has right."""
    return int((second & ~first).sum()), int((first & ~second).sum())
