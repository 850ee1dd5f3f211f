"""Statistics of the rows' features: what is computed of the features once, and what each way to put the rows on two
sides makes of it.

Up to `EXACT` rows all of them are compared with all; beyond, that would cost their square. Then the kernel is that of
random features, and neighbours are looked for among `EXACT` rows: what is drawn does not depend on the sides, so the
permutations stay valid, and the cost grows with the rows. ``sides``: [ways, rows] bool.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
FOLDS = 5
RIDGE = 1.0
EXACT = 5000
FREQUENCIES = 512
CHUNK = 64
# Of so many neighbours one is nearly always of the reference; all are looked at where none is.
NEIGHBOURS = 64
# By this share of the reference rows "unseen" is defined, so without a shift about so many incoming rows are.
UNSEEN = 0.05


class Domain:
    """A ridge classifier that tells the sides (classifier two-sample test, Lopez-Paz & Oquab 2017).

    The folds do not depend on the sides, so that one factorisation a fold serves every permutation: what is left of a
    permutation is a matrix product.

    Args: features [rows, hidden].
    """

    def __init__(self, features: Array, rng: np.random.Generator) -> None:
        self.x = _standardised(features)
        self.fold = rng.permutation(np.arange(len(self.x)) % FOLDS)

    def scores(self, sides: Array) -> Array:
        """[rows, ways]; out of fold, higher is more like incoming."""
        scores = np.empty((len(self.x), len(sides)))
        targets = np.where(sides, 1.0, -1.0).T
        for number in range(FOLDS):
            train, test = self.fold != number, self.fold == number
            with_bias = np.column_stack([self.x[train], np.ones(train.sum())])
            gram = with_bias.T @ with_bias + RIDGE * len(with_bias) / 10 * np.eye(with_bias.shape[1])
            weights = np.linalg.solve(gram, with_bias.T @ targets[train])
            scores[test] = np.column_stack([self.x[test], np.ones(test.sum())]) @ weights
        return scores


class Mmd:
    """Unbiased squared maximum mean discrepancy (Gretton et al. 2012, eq. 3) with an RBF kernel of standardised
    features; its bandwidth is the median distance, which no permutation changes.

    Above `EXACT` rows: random Fourier features (Rahimi & Recht 2007), and the median of so many rows.

    Args: features [rows, hidden].
    """

    def __init__(self, features: Array, rng: np.random.Generator) -> None:
        x = _standardised(features)
        self.exact = len(x) <= EXACT
        self.note = "RBF kernel, median bandwidth"
        some = x if self.exact else x[rng.choice(len(x), EXACT, replace=False)]
        distances = squared_distances(some)
        median = float(np.median(distances[np.triu_indices(len(distances), 1)])) or 1.0
        if self.exact:
            self.kernel = np.exp(-distances / median)
            np.fill_diagonal(self.kernel, 0.0)
            self.total = float(self.kernel.sum())
            return
        self.note += f", by {FREQUENCIES} random features"
        angles = x @ (rng.normal(size=(x.shape[1], FREQUENCIES)) * np.sqrt(2 / median))
        # A row's product with itself is 1, as the kernel's is.
        self.mapped = np.hstack([np.cos(angles), np.sin(angles)]) / np.sqrt(FREQUENCIES)

    def values(self, sides: Array) -> Array:
        """[ways]"""
        found = np.empty(len(sides))
        for start in range(0, len(sides), CHUNK):
            part = sides[start : start + CHUNK].astype(float)
            n = part.sum(axis=1)
            m = part.shape[1] - n
            within, across, other = self._sums(part)
            found[start : start + CHUNK] = (
                within / np.maximum(1, n * (n - 1))
                + other / np.maximum(1, m * (m - 1))
                - 2 * across / np.maximum(1, n * m)
            )
        return found

    def _sums(self, part: Array) -> tuple[Array, Array, Array]:
        """Of the kernel over pairs of different rows: both incoming, one of each, both reference."""
        if self.exact:
            toward = part @ self.kernel
            within = (toward * part).sum(axis=1)
            across = toward.sum(axis=1) - within
            return within, across, self.total - within - 2 * across
        here, there = part @ self.mapped, (1 - part) @ self.mapped
        within = (here**2).sum(axis=1) - part.sum(axis=1)
        other = (there**2).sum(axis=1) - (1 - part).sum(axis=1)
        return within, (here * there).sum(axis=1), other

    def deviation(self, side: Array, null: float) -> float:
        """Standard error of the value at ``side`` [rows]: its asymptotic variance where the sides differ (Gretton et
        al. 2012, cor. 16), and ``null``, the deviation of its permutations, which is all that is left where they do
        not."""
        n, m = int(side.sum()), int((~side).sum())
        if self.exact:
            toward_in, toward_out = self.kernel[:, side].sum(axis=1), self.kernel[:, ~side].sum(axis=1)
        else:
            toward_in = self.mapped @ self.mapped[side].sum(axis=0) - side
            toward_out = self.mapped @ self.mapped[~side].sum(axis=0) - ~side
        of_in = toward_in[side] / max(1, n - 1) - toward_out[side] / max(1, m)
        of_out = toward_out[~side] / max(1, m - 1) - toward_in[~side] / max(1, n)
        return float(np.sqrt(4 * of_in.var() / max(1, n) + 4 * of_out.var() / max(1, m) + null**2))


class Unseen:
    """Incoming rows further from their nearest reference row than 95 % of the reference rows are from theirs.

    Distances on L2-normalised features, a row itself left out. Above `EXACT` rows the nearest is looked for among so
    many, drawn from both sides.

    Args: features [rows, hidden].
    """

    def __init__(self, features: Array, rng: np.random.Generator) -> None:
        x = np.asarray(features, dtype=np.float64)
        self.x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
        every = np.arange(len(x))
        self.pool = every if len(x) <= EXACT else np.sort(rng.choice(len(x), EXACT, replace=False))
        count = min(NEIGHBOURS, len(self.pool) - 1)
        self.nearest = np.empty((len(x), count), dtype=np.int64)  # positions among the rows
        self.length = np.empty((len(x), count))
        for start in range(0, len(x), EXACT):
            rows = every[start : start + EXACT]
            distances = self._distances(rows)
            nearest = np.argpartition(distances, count - 1, axis=1)[:, :count]
            length = np.take_along_axis(distances, nearest, axis=1)
            order = np.argsort(length, axis=1, kind="stable")
            self.nearest[rows] = self.pool[np.take_along_axis(nearest, order, axis=1)]
            self.length[rows] = np.take_along_axis(length, order, axis=1)

    def values(self, sides: Array) -> Array:
        """Their share of the incoming rows, [ways]."""
        return np.array([self.beyond(side)[side].mean() for side in sides])

    def beyond(self, side: Array) -> Array:
        """[rows] bool, of either side. Args: side [rows]. What is nearest is found anew for each."""
        is_reference = ~side[self.nearest]
        place = is_reference.argmax(axis=1)
        far = self.length[np.arange(len(self.x)), place]
        alone = np.flatnonzero(~is_reference.any(axis=1))
        if len(alone):  # among their own kind, such as a tight cluster of incoming rows
            far[alone] = self._distances(alone)[:, ~side[self.pool]].min(axis=1, initial=np.inf)
        found: Array = far > np.quantile(far[~side], 1 - UNSEEN)
        return found

    def _distances(self, rows: Array) -> Array:
        """[given rows, pool], infinite from a row to itself."""
        x, pool = self.x[rows], self.x[self.pool]
        found: Array = np.maximum(0.0, (x**2).sum(axis=1)[:, None] + (pool**2).sum(axis=1)[None, :] - 2 * x @ pool.T)
        found[rows[:, None] == self.pool[None, :]] = np.inf
        return found


def squared_distances(x: Array) -> Array:
    squares = (x**2).sum(axis=1)
    found: Array = np.maximum(0.0, squares[:, None] + squares[None, :] - 2 * x @ x.T)
    return found


def _standardised(features: Array) -> Array:
    """Each column with mean 0 and deviation 1 over both sides, in float64."""
    x = np.asarray(features, dtype=np.float64)
    deviation = x.std(axis=0)
    standard: Array = (x - x.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    return standard
