"""Means of one number a row, such as F1: percentile bootstrap intervals, and a test of two models on the same rows."""

from __future__ import annotations

import numpy as np

from finetide.metrics.bootstrap import Interval
from finetide.metrics.classification import FloatArray

# Draws at once: bounds memory; the generator is read in order, so that the results do not depend on it.
AT_ONCE = 128


def bootstrap_mean(values: FloatArray, *, resamples: int, confidence: float, chance: np.random.Generator) -> Interval:
    """Interval of the mean over rows drawn with replacement. Args: values: [rows], at least one."""
    draws = []
    for start in range(0, resamples, AT_ONCE):
        picked = chance.integers(0, len(values), size=(min(AT_ONCE, resamples - start), len(values)))
        draws.append(values[picked].mean(axis=1))
    low, high = np.quantile(np.concatenate(draws), [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(values.mean()), float(low), float(high))


def sign_flip(differences: FloatArray, *, draws: int, chance: np.random.Generator) -> tuple[float, float]:
    """P-values of the null that the signs of the paired differences are those of fair coins: two-sided, and one-sided
    against a mean below 0 (Pitman 1937, by Monte Carlo; the observed signs count as one of the draws).

    Args: differences: [rows]; rows that do not differ tell nothing. (1, 1) where none differs.
    """
    told = differences[np.abs(differences) > 1e-12]
    if not len(told):
        return 1.0, 1.0
    observed = float(told.sum())
    two = one = 1
    for start in range(0, draws, AT_ONCE):
        signs = chance.integers(0, 2, size=(min(AT_ONCE, draws - start), len(told))) * 2 - 1
        sums = signs @ told
        two += int((np.abs(sums) >= abs(observed) - 1e-9).sum())
        one += int((sums <= observed + 1e-9).sum())
    return two / (draws + 1), one / (draws + 1)
