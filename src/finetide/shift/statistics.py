"""Statistics of two samples, computed for many ways to put the rows on two sides at once.

``a`` and ``b``, [ways, rows], say how often each row stands on the incoming and on the reference side: 0 or 1 for a
permutation, 0 to n for a bootstrap sample.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import norm, rankdata

Array = np.ndarray[Any, Any]
FOLDS = 5
RIDGE = 1.0
CHUNK = 64
# Of so many neighbours one is nearly always of the reference; all rows are looked at where none is.
NEIGHBOURS = 64
# By this share of the reference rows "unseen" is defined, so without a shift about so many incoming rows are.
UNSEEN = 0.05


def domain_scores(features: Array, sides: Array, rng: np.random.Generator) -> Array:
    """Out-of-fold scores of a ridge classifier that tells the sides (classifier two-sample test, Lopez-Paz & Oquab
    2017).

    The folds do not depend on the sides, so that one factorisation a fold serves every permutation: what is left of a
    permutation is a matrix product.

    Args:
        features: [rows, hidden]; sides: [draws + 1, rows] bool.

    Returns:
        [rows, draws + 1]; higher is more like incoming.
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
    return scores


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


def kernel(features: Array) -> Array:
    """RBF kernel of standardised features with the median distance as bandwidth, which no permutation changes; 0 on the
    diagonal. [rows, rows]"""
    distances = squared_distances(_standardised(features))
    median = float(np.median(distances[np.triu_indices(len(distances), 1)])) or 1.0
    found: Array = np.exp(-distances / median)
    np.fill_diagonal(found, 0.0)
    return found


def squared_distances(x: Array) -> Array:
    squares = (x**2).sum(axis=1)
    found: Array = np.maximum(0.0, squares[:, None] + squares[None, :] - 2 * x @ x.T)
    return found


def mmd(kernel: Array, sides: Array) -> Array:
    """Unbiased squared maximum mean discrepancy (Gretton et al. 2012, eq. 3), [draws + 1]. Args: sides bool."""
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


def mmd_deviation(kernel: Array, sides: Array, null: float) -> float:
    """Standard error of MMD²: its asymptotic variance where the sides differ (Gretton et al. 2012, cor. 16), and
    ``null``, the deviation of its permutations, which is all that is left where they do not. Args: sides [rows]."""
    n, m = int(sides.sum()), int((~sides).sum())
    toward_in, toward_out = kernel[:, sides].sum(axis=1), kernel[:, ~sides].sum(axis=1)
    of_in = toward_in[sides] / max(1, n - 1) - toward_out[sides] / max(1, m)
    of_out = toward_out[~sides] / max(1, m - 1) - toward_in[~sides] / max(1, n)
    return float(np.sqrt(4 * of_in.var() / max(1, n) + 4 * of_out.var() / max(1, m) + null**2))


def unseen(features: Array, sides: Array) -> tuple[Array, Array]:
    """Share of incoming rows further from their nearest reference row than 95 % of the reference rows are from theirs.

    Distances on L2-normalised features, a row itself left out. What is nearest is found anew in each draw.

    Returns:
        [draws + 1], and whether each row is so far away with the observed sides, [rows] bool.
    """
    x = np.asarray(features, dtype=np.float64)
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    distances = squared_distances(x)
    np.fill_diagonal(distances, np.inf)
    count = min(NEIGHBOURS, len(x) - 1)
    nearest = np.argpartition(distances, count - 1, axis=1)[:, :count]
    length = np.take_along_axis(distances, nearest, axis=1)
    order = np.argsort(length, axis=1, kind="stable")
    nearest, length = np.take_along_axis(nearest, order, axis=1), np.take_along_axis(length, order, axis=1)
    shares, observed = np.empty(len(sides)), np.zeros(len(x), dtype=bool)
    for draw, side in enumerate(sides):
        is_reference = ~side[nearest]
        place = is_reference.argmax(axis=1)
        far = length[np.arange(len(x)), place]
        alone = np.flatnonzero(~is_reference.any(axis=1))
        if len(alone):  # among their own kind, such as a tight cluster of incoming rows
            far[alone] = distances[np.ix_(alone, np.flatnonzero(~side))].min(axis=1)
        beyond = far > np.quantile(far[~side], 1 - UNSEEN)
        shares[draw] = beyond[side].mean()
        if draw == 0:
            observed = beyond
    return shares, observed


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


def _standardised(features: Array) -> Array:
    """Each column with mean 0 and deviation 1 over both sides, in float64."""
    x = np.asarray(features, dtype=np.float64)
    deviation = x.std(axis=0)
    standard: Array = (x - x.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    return standard
