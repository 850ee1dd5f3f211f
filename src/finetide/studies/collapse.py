"""Runs that went wrong by their seed: they learnt nothing, or far less than the same training with other seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from finetide.evaluation.kinds import Sides, Studying
from finetide.metrics.bootstrap import Interval
from finetide.metrics.classification import FloatArray
from finetide.report.words import BASELINE_NAMES, percent
from finetide.seeding import generator

# A difference of the main metric.
FAR = 0.05


def reasons(
    kind: Studying,
    sides: Sides,
    runs: Sequence[FloatArray],
    guesses: Mapping[str, FloatArray],
    *,
    resamples: int,
    confidence: float,
    seed: int,
) -> list[str | None]:
    """Why a run counts as collapsed; None for one that does not.

    It does when it lies less than `FAR` above the best of what can be said without any model and the test rows do not
    tell the two apart, or when it lies more than `FAR` below the run in the middle of the others, beyond what the
    choice of test rows explains.

    Args: runs: of each the grades (`Studying.grade`); guesses: by baseline, the same.
    """
    metric = kind.metrics[0]

    def difference(first: FloatArray, second: FloatArray, name: str) -> Interval:
        return kind.mean(
            metric, [first], [second], sides, resamples=resamples, confidence=confidence,
            chance=generator(seed, "collapse", name),
        )  # fmt: skip

    reached = [kind.value(metric, run, sides) for run in runs]
    without = {name: kind.value(metric, guess, sides) for name, guess in guesses.items()}
    best = max(without, key=without.__getitem__)
    found: list[str | None] = []
    for index, run in enumerate(runs):
        nothing = difference(run, guesses[best], f"{best} {index}")
        others = [other for other in range(len(runs)) if other != index]
        reason = None
        if nothing.value < FAR and nothing.low <= 0:
            how = "is below" if nothing.high < 0 else "is not told from"
            reason = f"{percent(reached[index])} {how} {percent(without[best])} ({BASELINE_NAMES[best]})"
        elif others:
            middle = sorted(others, key=lambda other: reached[other])[(len(others) - 1) // 2]
            less = difference(run, runs[middle], f"others {index}")
            if less.value <= -FAR and less.high < 0:
                of_them = percent(reached[middle])
                reason = f"{percent(reached[index])} is far below the {of_them} in the middle of the other seeds"
        found.append(reason)
    return found


def spread(values: Sequence[float]) -> float:
    """Standard deviation over the seeds, of a sample; 0 for one."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
