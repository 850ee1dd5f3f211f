"""Which kinds of shift there are, and by which test each was named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from finetide.contracts.shift import ACCURACY, Cause, Statistic
from finetide.seeding import generator
from finetide.shift import statistics
from finetide.shift.features import Domain, Mmd
from finetide.shift.label_shift import Estimate
from finetide.shift.measure import LABELS, OF_LABELS, Comparison
from finetide.shift.permute import combine
from finetide.shift.sample import Sample

Array = np.ndarray[Any, Any]
# A conditional test of fewer rows a side would find nothing, and so clear the inputs of what it cannot see.
FEWEST = 30
STRATA = 10


def find(
    sample: Sample,
    comparison: Comparison,
    found: Sequence[Statistic],
    estimated: Estimate | None,
    alpha: float,
    seed: int,
) -> tuple[list[Cause], list[str]]:
    """Causes with a reason each. A single test counts when its p-value, corrected for all tests, is below ``alpha``.

    Where labels alone moved, the inputs moved with them. So where the label frequencies differ, the inputs are compared
    once more among rows of the same label: only what differs there is a covariate shift.
    """
    by_name = {one.name: one for one in found}
    sure = [one for one in found if one.adjusted < alpha]
    inputs = [one for one in sure if one.name not in OF_LABELS]
    causes: list[Cause] = []
    reasons: list[str] = []
    within = _within_labels(sample, comparison, estimated, alpha, by_name, seed) if inputs else None
    if by_name.get(LABELS) in sure:
        causes.append("label")
        reasons.append(
            f"label: the labelled rows' frequencies differ by {by_name[LABELS].effect:.2f} (total variation)"
        )
    elif within is not None and within >= alpha and estimated is not None and LABELS not in by_name:
        causes.append("label")
        reasons.append("label: by what the champion predicts the label frequencies moved, and that explains the inputs")
    if inputs and ("label" not in causes or within is None or within < alpha):
        also = "" if within is None or within >= alpha else f"; within labels they still differ (p = {within:.3g})"
        causes.insert(0, "covariate")
        reasons.insert(0, f"covariate: the inputs differ by {', '.join(one.name for one in inputs)}{also}")
    elif inputs:
        reasons.append(f"no covariate shift beside it: what moved otherwise has p = {within:.3g}")
    if by_name.get(ACCURACY) in sure:
        causes.append("concept")
        reasons.append(f"concept: the champion is {by_name[ACCURACY].note}")
    return causes, reasons


def _within_labels(
    sample: Sample,
    comparison: Comparison,
    estimated: Estimate | None,
    alpha: float,
    by_name: dict[str, Statistic],
    seed: int,
) -> float | None:
    """p-value that the features are alike among rows of the same label; None where no label shift may explain them.

    Without labels of incoming rows: among rows whose champion's probabilities make them alike likely to be incoming. If
    labels alone moved, the sides differ by that likelihood only (a balancing score: Rosenbaum and Rubin 1983, who find
    that five strata of it take away nine tenths of the difference). Right as far as the champion is calibrated.
    """
    if LABELS in by_name:
        if by_name[LABELS].adjusted >= alpha:
            return None
        rows, given = sample.labelled, np.asarray([str(label) for label in sample.labels])
    elif estimated is not None and sample.champion is not None and estimated.p < alpha:
        rows, given = sample.champion.scored, _strata(sample.champion.outputs @ estimated.ratio, sample.champion.scored)
    else:
        return None
    if min((rows & sample.incoming).sum(), (rows & ~sample.incoming).sum()) < FEWEST:
        return None
    draws = comparison.draws
    view = draws.view(rows, np.unique(given, return_inverse=True)[1])
    features = sample.features[rows]
    domain = Domain(features, generator(seed, "shift", "folds", "within labels"))
    mmd = Mmd(features, generator(seed, "shift", "kernel", "within labels"))
    return combine(
        draws.evaluate([(view, lambda sides: statistics.auc(domain.scores(sides), sides)), (view, mmd.values)])
    )


def _strata(likelihood: Array, rows: Array) -> Array:
    """Tenths of ``rows`` by ``likelihood`` [all rows]."""
    cuts = np.unique(np.quantile(likelihood[rows], np.arange(1, STRATA) / STRATA))
    found: Array = np.searchsorted(cuts, likelihood)
    return found
