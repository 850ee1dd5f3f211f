"""How often the champion is right on incoming rows, as far as its own probabilities tell: without their labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from finetide.contracts.shift import ACCURACY, AccuracyEstimate, Statistic
from finetide.shift.measure import UNSEEN, Comparison
from finetide.shift.sample import Sample

Array = np.ndarray[Any, Any]
# Held-out labelled reference rows below which the threshold is guesswork.
FEWEST = 100
# Two estimates that differ by more cannot both be right. Beyond this share of inputs unlike any known one, neither need
# be: both take it that what the champion says means on incoming rows what it means on the reference.
DISAGREEMENT, MANY_UNSEEN = 0.05, 0.1


def estimate(
    sample: Sample, comparison: Comparison, found: Sequence[Statistic], alpha: float
) -> AccuracyEstimate | None:
    """None without a champion, or without labelled reference rows that it was not trained on.

    The estimate is ATC (Garg et al. 2022, eq. 2, with negative entropy): the threshold that as many reference rows fall
    below as the champion gets wrong, and the share of incoming rows above it. DoC (Guillory et al. 2021), accuracy on
    the reference less the fall of the mean confidence, stands beside it. The interval is a bootstrap's over the rows of
    both sides; it knows nothing of whether the assumption holds, for which ``trusted`` stands.
    """
    champion = sample.champion
    if champion is None:
        return None
    known = champion.scored & sample.labelled & ~sample.incoming
    incoming = champion.scored & sample.incoming
    if known.sum() < 2 or not incoming.any():
        return None
    right = _right(sample, champion.labels, champion.outputs, known)
    certain = (champion.outputs * np.log(np.maximum(champion.outputs, 1e-12))).sum(axis=1)
    sure = champion.outputs.max(axis=1)
    reference = right[known].mean()
    atc = _above(certain, right, known.astype(float)[None], incoming.astype(float)[None])[0]
    doc = reference - (sure[known].mean() - sure[incoming].mean())
    resampled = _above(certain, right, comparison.b * known, comparison.a * incoming)
    low, high = np.quantile(resampled, [0.025, 0.975])
    doubt = _doubt(int(known.sum()), float(abs(atc - doc)), {one.name: one for one in found}, alpha)
    told = incoming & sample.labelled
    return AccuracyEstimate(
        reference=float(reference),
        estimated=float(atc),
        low=float(min(low, atc)),
        high=float(max(high, atc)),
        by_confidence=float(np.clip(doc, 0.0, 1.0)),
        labelled=float(_right(sample, champion.labels, champion.outputs, told)[told].mean()) if told.any() else None,
        trusted=doubt is None,
        reason=doubt or "confidence and threshold agree, and the inputs are of a known kind",
    )


def _right(sample: Sample, labels: Sequence[str], outputs: Array, rows: Array) -> Array:
    """1 where the champion gives the row its label, [rows]; 0 elsewhere and outside ``rows``."""
    truth = np.asarray([label or "" for label in sample.labels])
    found: Array = ((np.asarray(labels)[outputs.argmax(axis=1)] == truth) & rows).astype(float)
    return found


def _above(certain: Array, right: Array, b: Array, a: Array) -> Array:
    """Share of the rows weighted by ``a`` above the threshold that rows weighted by ``b`` set, [ways]."""
    order = np.argsort(certain, kind="stable")
    wrong = 1 - (b @ right) / np.maximum(1, b.sum(axis=1))
    below = np.cumsum(b[:, order], axis=1) / np.maximum(1, b.sum(axis=1, keepdims=True))
    is_below = below <= wrong[:, None] + 1e-9
    found: Array = 1 - (a[:, order] * is_below).sum(axis=1) / np.maximum(1, a.sum(axis=1))
    return found


def _doubt(rows: int, difference: float, by_name: dict[str, Statistic], alpha: float) -> str | None:
    """Why the estimate cannot be trusted; None where nothing speaks against it."""
    unseen, accuracy = by_name[UNSEEN], by_name.get(ACCURACY)
    if accuracy is not None and accuracy.adjusted < alpha:
        return f"labelled rows say otherwise: the champion is {accuracy.note}"
    if unseen.adjusted < alpha and unseen.effect - unseen.expected >= MANY_UNSEEN:
        return f"{unseen.effect:.0%} of the incoming rows are unlike any known one; label some of them"
    if difference > DISAGREEMENT:
        return f"threshold and confidence differ by {100 * difference:.0f} points; label some incoming rows"
    if rows < FEWEST:
        return f"only {rows} labelled reference rows were held out from the champion, {FEWEST} would do"
    return None
