"""Statistics of two samples that need some numbers or a label a row, for many ways to put the rows on two sides.

``a`` and ``b``, [ways, rows], say how often each row stands on the incoming and on the reference side: 0 or 1 for a
permutation, 0 to n for a bootstrap sample.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import norm, rankdata

Array = np.ndarray[Any, Any]


def auc(scores: Array, sides: Array) -> Array:
    """Area under the ROC curve, [draws + 1]; 0.5 when the sides cannot be told apart.

    Args: scores [rows, draws + 1], each column the scores of its own sides; sides [draws + 1, rows] bool.
    """
    ranks = rankdata(scores, axis=0).T
    incoming = sides.sum(axis=1)
    reference = sides.shape[1] - incoming
    rank_sum = (ranks * sides).sum(axis=1)
    found: Array = (rank_sum - incoming * (incoming + 1) / 2) / np.maximum(1, incoming * reference)
    return found


def weighted_auc(scores: Array, a: Array, b: Array) -> Array:
    """AUC of fixed ``scores`` [rows] for weighted rows, [ways]. Ties count half."""
    _, code = np.unique(scores, return_inverse=True)
    order = np.argsort(code, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(code[order]) > 0])
    of_a = np.add.reduceat(a[:, order], starts, axis=1)
    of_b = np.add.reduceat(b[:, order], starts, axis=1)
    below = np.cumsum(of_b, axis=1) - of_b / 2
    found: Array = (of_a * below).sum(axis=1) / np.maximum(1.0, of_a.sum(axis=1) * of_b.sum(axis=1))
    return found


def auc_deviation(value: float, incoming: int, reference: int) -> float:
    """Hanley & McNeil 1982, equations 1 and 2: the standard error of an AUC, from itself and the sizes only."""
    q1, q2 = value / (2 - value), 2 * value**2 / (1 + value)
    variance = value * (1 - value) + (incoming - 1) * (q1 - value**2) + (reference - 1) * (q2 - value**2)
    return float(np.sqrt(max(0.0, variance) / (incoming * reference)))


def mean_difference(values: Array, a: Array, b: Array) -> Array:
    """Absolute difference of the means in pooled standard deviations (Cohen's d), [ways]. Args: values [rows]."""
    n, m = a.sum(axis=1), b.sum(axis=1)
    mean_a, mean_b = (a @ values) / np.maximum(1, n), (b @ values) / np.maximum(1, m)
    squared = a @ values**2 + b @ values**2
    inside = np.maximum(squared - n * mean_a**2 - m * mean_b**2, 0.0)
    # What rounding leaves of values that are all alike is no deviation.
    deviation = np.sqrt(np.where(inside > 1e-12 * squared, inside, 0.0) / np.maximum(1, n + m - 2))
    difference: Array = np.abs(mean_a - mean_b) / np.where(deviation > 0, deviation, 1.0)
    return difference


def drop(values: Array, a: Array, b: Array) -> Array:
    """Mean of the reference side minus mean of the incoming side, [ways]. Args: values [rows]."""
    found: Array = (b @ values) / np.maximum(1, b.sum(axis=1)) - (a @ values) / np.maximum(1, a.sum(axis=1))
    return found


def total_variation(codes: Array, a: Array, b: Array) -> Array:
    """Half the summed difference of the frequencies, 0 (alike) to 1 (nothing in common), [ways].

    Args: codes [rows]: the label of each row as a number from 0.
    """
    onehot = np.eye(int(codes.max()) + 1)[codes]
    of_a = (a @ onehot) / np.maximum(1, a.sum(axis=1, keepdims=True))
    of_b = (b @ onehot) / np.maximum(1, b.sum(axis=1, keepdims=True))
    distance: Array = 0.5 * np.abs(of_a - of_b).sum(axis=1)
    return distance


def largest_gap(outputs: Array, a: Array, b: Array) -> Array:
    """The largest Kolmogorov-Smirnov distance of any column of ``outputs`` [rows, columns], [ways].

    Black-box shift detection (Lipton et al. 2018; Rabanser et al. 2019): the columns are a model's probabilities.
    """
    a = a / np.maximum(1, a.sum(axis=1, keepdims=True))
    b = b / np.maximum(1, b.sum(axis=1, keepdims=True))
    difference = a - b
    found = np.zeros(len(a))
    for column in outputs.T:
        order = np.argsort(column, kind="stable")
        last = np.r_[np.diff(column[order]) > 0, True]  # rows with equal values step together
        gap = np.abs(np.cumsum(difference[:, order], axis=1)[:, last]).max(axis=1)
        found = np.maximum(found, gap)
    return found


def normal_interval(value: float, deviation: float, confidence: float = 0.95) -> tuple[float, float]:
    width = float(norm.ppf(0.5 + confidence / 2)) * deviation
    return value - width, value + width
