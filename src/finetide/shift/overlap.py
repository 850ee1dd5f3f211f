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


def effective_share(ratio: Array) -> float:
    """Of so many rows as a share the weighted ones are worth (Kish 1965), 1 where all weigh alike."""
    return float(ratio.sum() ** 2 / (len(ratio) * (ratio**2).sum())) if len(ratio) else 0.0
