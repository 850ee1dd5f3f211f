"""Rows that count for more than others: importance weights of reference rows, what to try for incoming ones, and scores
of weighted rows."""

from __future__ import annotations

from itertools import takewhile
from typing import Any

import numpy as np

from finetide.engine import probe
from finetide.engine.specs import Score
from finetide.seeding import generator

Array = np.ndarray[Any, Any]
FOLDS = 5
# Of the probe that tells the sides apart, from many rows to few; its loss on rows that it did not see chooses.
STRENGTHS, ITERATIONS = (0.1, 0.01, 0.001), 40


def importance(features: Array, incoming: Array, others: Array, clip: float, seed: int) -> tuple[Array, Array]:
    """How much more often a row comes among incoming ones: p/(1 − p) of a probe that did not see it, by the sizes of
    the sides (Bickel, Brückner and Scheffer 2007), between 1/``clip`` and ``clip``.

    Args:
        features: [rows, hidden] float32 with incoming [rows] bool, both sides present.
        others: [others, hidden], rows that the probe sees none of.

    Returns: [rows] and [others], float64.
    """
    folds = np.zeros(len(incoming), dtype=np.int64)
    rng = generator(seed, "recipe", "folds")
    for side in (True, False):  # every fold has rows of either side
        rows = np.flatnonzero(incoming == side)
        folds[rng.permutation(rows)] = np.arange(len(rows)) % FOLDS
    found, rest = probe.out_of_fold(
        features, incoming.astype(np.int64), folds, others, labels=2, strengths=STRENGTHS, max_iterations=ITERATIONS
    )
    sizes = (~incoming).sum() / max(1, incoming.sum())

    def ratio(p: Array) -> Array:
        kept: Array = np.clip(p[:, 1] / np.maximum(p[:, 0], 1e-12) * sizes, 1.0 / clip, clip)
        return kept

    return ratio(found), ratio(rest)


def folds(held: Array, seed: int) -> Array:
    """Of rows [rows] bool that are to be predicted, the fold of each; -1 of the others, which every probe sees."""
    found = np.full(len(held), -1, dtype=np.int64)
    rows = np.flatnonzero(held)
    found[generator(seed, "recipe", "balance").permutation(rows)] = np.arange(len(rows)) % FOLDS
    return found


def factors(limit: float) -> tuple[float, ...]:
    """2, 4, 8 and so on below ``limit``, and ``limit`` itself."""
    powers = (2.0**power for power in range(1, 64))
    return (*takewhile(lambda power: power < limit, powers), limit)


def score(logits: Array, targets: Array, weights: Array) -> Score:
    """Accuracy and mean cross-entropy of weighted rows. Args: logits [rows, labels], targets and weights [rows]."""
    total = max(float(weights.sum()), 1e-12)
    plain = logits.astype(np.float64)
    shifted = plain - plain.max(axis=1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(targets)), targets]
    right = plain.argmax(axis=1) == targets
    return Score(float((right * weights).sum() / total), float((losses * weights).sum() / total))
