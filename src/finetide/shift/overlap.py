"""From scores that tell the sides apart to importance weights: how much more often a row comes among incoming ones."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
STEPS = 50
# Of the slope: scores that separate the sides wholly have no finite one.
RIDGE = 1e-3


def odds(scores: Array, incoming: Array) -> Array:
    """Density of the incoming rows by that of the reference rows where each row lies, [rows].

    A logistic regression on the score (Platt 1999), each side counting for half: with a classifier's probabilities p
    the ratio is p/(1 − p) (Bickel, Brückner and Scheffer 2007).

    Args: scores [rows], of a classifier that did not see the row; incoming [rows] bool.
    """
    x = (scores - scores.mean()) / (float(scores.std()) or 1.0)
    weight = np.where(incoming, 0.5 / max(1, incoming.sum()), 0.5 / max(1, (~incoming).sum()))
    design = np.column_stack([x, np.ones(len(x))])
    found = np.zeros(2)
    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-design @ found))
        slope = design.T @ (weight * (incoming - p)) - RIDGE * np.array([found[0], 0.0])
        curve = (design * (weight * p * (1 - p))[:, None]).T @ design + RIDGE * np.diag([1.0, 0.0]) + 1e-9 * np.eye(2)
        step = np.linalg.solve(curve, slope)
        found += np.clip(step, -2.0, 2.0)
        if np.abs(step).max() < 1e-10:
            break
    ratio: Array = np.exp(np.clip(design @ found, -30.0, 30.0))
    return ratio


def effective_share(ratio: Array, incoming: Array) -> float:
    """What share of themselves the reference rows are worth once they are weighted to look like incoming ones.

    Kish's effective sample size (1965), by the reference rows and, as the mean of the ratio over incoming rows is that
    of its square over reference rows, by the incoming ones: the lower of the two. Reference rows alone would not do:
    where none of them looks like an incoming row, all weigh alike, and by themselves they are worth everything.

    Args: ratio [rows], of `odds`; incoming [rows] bool.
    """
    mine, theirs = ratio[~incoming], ratio[incoming]
    if not len(mine) or not len(theirs):
        return 0.0
    by_reference = mine.sum() ** 2 / (len(mine) * (mine**2).sum())
    return float(min(by_reference, 1.0 / max(1.0, theirs.mean())))
