"""Runs that went wrong by their seed: they learnt nothing, or far less than the same training with other seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from finetide.metrics.bootstrap import Interval, paired_bootstrap
from finetide.metrics.classification import METRICS, IntArray
from finetide.report.words import percent
from finetide.seeding import generator

# A difference of accuracies.
FAR = 0.05


def reasons(
    truth: IntArray,
    runs: Sequence[IntArray],
    majority: IntArray,
    *,
    labels: int,
    resamples: int,
    confidence: float,
    seed: int,
) -> list[str | None]:
    """Why a run counts as collapsed; None for one that does not.

    It does when it lies less than `FAR` above always saying the most frequent label and the test rows do not tell the
    two apart, or when it lies more than `FAR` below the run in the middle of the others, beyond what the choice of test
    rows explains.

    Args: truth, majority and each of ``runs``: label indices, shape [rows].
    """

    def difference(first: IntArray, second: IntArray, name: str) -> Interval:
        return paired_bootstrap(
            truth, first, second, labels=labels, metric=METRICS["accuracy"], resamples=resamples,
            confidence=confidence, chance=generator(seed, "collapse", name),
        )  # fmt: skip

    right = [float((run == truth).mean()) for run in runs]
    found: list[str | None] = []
    for index, run in enumerate(runs):
        nothing = difference(run, majority, f"majority {index}")
        others = [other for other in range(len(runs)) if other != index]
        reason = None
        if nothing.value < FAR and nothing.low <= 0:
            frequent = percent(float((majority == truth).mean()))
            reason = f"{percent(right[index])} is not told from the most frequent label's {frequent}"
        elif others:
            middle = sorted(others, key=lambda other: right[other])[(len(others) - 1) // 2]
            less = difference(run, runs[middle], f"others {index}")
            if less.value <= -FAR and less.high < 0:
                of_them = percent(right[middle])
                reason = f"{percent(right[index])} is far below the {of_them} in the middle of the other seeds"
        found.append(reason)
    return found


def spread(values: Sequence[float]) -> float:
    """Standard deviation over the seeds, of a sample; 0 for one."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
