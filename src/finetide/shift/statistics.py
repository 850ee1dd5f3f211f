"""Statistics of two samples, each computed for the observed sides and for every permutation of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import norm, rankdata

Array = np.ndarray[Any, Any]
FOLDS = 5
RIDGE = 1.0
CHUNK = 64


def domain_auc(features: Array, sides: Array, rng: np.random.Generator) -> Array:
    """Classifier two-sample test (Lopez-Paz & Oquab 2017): out-of-fold AUC of a ridge classifier that tells the sides.

    The folds do not depend on the sides, so that one factorisation a fold serves every permutation: what is left of a
    permutation is a matrix product.

    Args:
        features: [rows, hidden]; sides: [draws + 1, rows] bool.

    Returns:
        [draws + 1]; 0.5 when the sides cannot be told apart.
    """
    x = _standardised(features)
    fold = rng.permutation(np.arange(len(x)) % FOLDS)
    scores = np.empty((len(x), len(sides)))
    targets = np.where(sides, 1.0, -1.0).T
    for number in range(FOLDS):
        train, test = fold != number, fold == number
        with_bias = np.column_stack([x[train], np.ones(train.sum())])
        gram = with_bias.T @ with_bias + RIDGE * len(with_bias) / 10 * np.eye(with_bias.shape[1])
        weights = np.linalg.solve(gram, with_bias.T @ targets[train])
        scores[test] = np.column_stack([x[test], np.ones(test.sum())]) @ weights
    ranks = rankdata(scores, axis=0).T
    incoming = sides.sum(axis=1)
    reference = sides.shape[1] - incoming
    rank_sum = (ranks * sides).sum(axis=1)
    auc: Array = (rank_sum - incoming * (incoming + 1) / 2) / np.maximum(1, incoming * reference)
    return auc


def auc_interval(auc: float, incoming: int, reference: int, confidence: float = 0.95) -> tuple[float, float]:
    """Hanley & McNeil 1982, equations 1 and 2: a normal interval that needs the AUC and the sizes only."""
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + (incoming - 1) * (q1 - auc**2) + (reference - 1) * (q2 - auc**2)
    width = float(norm.ppf(0.5 + confidence / 2)) * float(np.sqrt(max(0.0, variance) / (incoming * reference)))
    return max(0.0, auc - width), min(1.0, auc + width)


def mmd(features: Array, sides: Array) -> Array:
    """Unbiased squared maximum mean discrepancy (Gretton et al. 2012, eq. 3) with an RBF kernel, [draws + 1].

    The bandwidth is the median distance of all rows, which no permutation changes.
    """
    x = _standardised(features)
    squares = (x**2).sum(axis=1)
    distances = np.maximum(0.0, squares[:, None] + squares[None, :] - 2 * x @ x.T)
    median = float(np.median(distances[np.triu_indices(len(x), 1)])) or 1.0
    kernel = np.exp(-distances / median)
    np.fill_diagonal(kernel, 0.0)
    total = kernel.sum()
    found = np.empty(len(sides))
    for start in range(0, len(sides), CHUNK):
        part = sides[start : start + CHUNK].astype(float)
        n = part.sum(axis=1)
        m = part.shape[1] - n
        toward = part @ kernel
        within = (toward * part).sum(axis=1)
        across = toward.sum(axis=1) - within
        other = total - within - 2 * across
        found[start : start + CHUNK] = (
            within / np.maximum(1, n * (n - 1)) + other / np.maximum(1, m * (m - 1)) - 2 * across / np.maximum(1, n * m)
        )
    return found


def mean_difference(values: Array, sides: Array) -> Array:
    """Absolute difference of the means in pooled standard deviations (Cohen's d), [draws + 1]. Args: values [rows]."""
    n = sides.sum(axis=1)
    m = sides.shape[1] - n
    summed, squared = sides @ values, sides @ values**2
    mean_n, mean_m = summed / np.maximum(1, n), (values.sum() - summed) / np.maximum(1, m)
    inside = squared - n * mean_n**2 + ((values**2).sum() - squared) - m * mean_m**2
    deviation = np.sqrt(np.maximum(inside, 0.0) / max(1, sides.shape[1] - 2))
    difference: Array = np.abs(mean_n - mean_m) / np.where(deviation > 0, deviation, 1.0)
    return difference


def signed_difference(values: Array, sides: Array) -> float:
    """Mean of incoming minus mean of reference, in the unit of ``values``. Args: sides [rows]."""
    return float(values[sides].mean() - values[~sides].mean())


def total_variation(labels: Sequence[str], sides: Array) -> Array:
    """Half the summed difference of the label frequencies, 0 (alike) to 1 (nothing in common), [draws + 1]."""
    _, code = np.unique(np.asarray(labels), return_inverse=True)
    onehot = np.eye(int(code.max()) + 1)[code]
    n = sides.sum(axis=1, keepdims=True)
    m = sides.shape[1] - n
    counted = sides @ onehot
    distance: Array = 0.5 * np.abs(counted / np.maximum(1, n) - (onehot.sum(axis=0) - counted) / np.maximum(1, m)).sum(
        axis=1
    )
    return distance


def _standardised(features: Array) -> Array:
    """Each column with mean 0 and deviation 1 over both sides, in float64."""
    x = np.asarray(features, dtype=np.float64)
    deviation = x.std(axis=0)
    standard: Array = (x - x.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    return standard
