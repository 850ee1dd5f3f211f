"""From finished runs to named numbers: means over the seeds, intervals over the test rows, differences in pairs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from finetide.contracts.metrics import Measure
from finetide.contracts.study import FinishedRun, Method, StudyResult, StudyRun
from finetide.evaluation.measures import BoolArray
from finetide.metrics.bootstrap import mean_bootstrap
from finetide.metrics.classification import METRICS, IntArray, count
from finetide.seeding import generator
from finetide.studies import collapse
from finetide.studies.bench import Bench, majority
from finetide.studies.describe import whole_role

Runs = Sequence[tuple[int, FinishedRun]]


def result(
    bench: Bench, method: Method, share: float | None, runs: Runs, yardstick: Runs = (), *, policy: str | None = None
) -> StudyResult:
    """Args: runs, yardstick: seed and run; ``yardstick`` is what the difference is taken from, if anything."""
    truth, labels = bench.truth, len(bench.labels)
    predicted, theirs = _predictions(runs), _predictions(yardstick)
    roles: dict[str, dict[str, Measure]] = {}
    against: dict[str, Measure] = {}
    for role, mask in bench.masks.items():
        inside = [one[mask] for one in predicted]
        roles[role] = {metric: _mean(bench, role, mask, metric, inside) for metric in METRICS}
        if theirs:
            against[role] = _mean(bench, role, mask, "accuracy", inside, [one[mask] for one in theirs])
    shown = tuple(
        StudyRun(
            seed=seed,
            accuracy=float(METRICS["accuracy"](count(truth, one, labels))),
            macro_f1=float(METRICS["macro_f1"](count(truth, one, labels))),
            validation=run.validation,
            steps=run.steps,
            seconds=run.seconds,
            joules=run.joules,
            gap=run.gap,
            trainable=run.trainable,
            collapsed=reason,
        )
        for (seed, run), one, reason in zip(runs, predicted, _collapsed(bench, method, predicted), strict=True)
    )
    return StudyResult(
        method=method, policy=policy, share=share, rows=runs[0][1].rows, roles=roles, against=against, shallower=None,
        runs=shown,
    )  # fmt: skip


def difference(bench: Bench, runs: Runs, minus: Runs) -> Measure:
    """Accuracy of ``runs`` less that of ``minus``, on all test rows together."""
    role = whole_role(bench.masks)
    mask = bench.masks[role]
    mine, theirs = ([one[mask] for one in _predictions(part)] for part in (runs, minus))
    return _mean(bench, role, mask, "accuracy", mine, theirs)


def _predictions(runs: Runs) -> list[IntArray]:
    return [np.array(run.predicted, dtype=np.int64) for _, run in runs]


def _mean(
    bench: Bench, role: str, mask: BoolArray, metric: str, runs: Sequence[IntArray], minus: Sequence[IntArray] = ()
) -> Measure:
    found = mean_bootstrap(
        bench.truth[mask], runs, minus=minus, labels=len(bench.labels), metric=METRICS[metric],
        resamples=bench.evaluate.bootstrap, confidence=bench.evaluate.confidence,
        chance=generator(bench.seed, "study", role, metric, "difference" if minus else "alone"),
    )  # fmt: skip
    return Measure(value=found.value, low=found.low, high=found.high, rows=int(mask.sum()))


def _collapsed(bench: Bench, method: Method, predicted: Sequence[IntArray]) -> list[str | None]:
    """Only what trains by gradient descent can."""
    if method in ("probe", "zero-shot"):
        return [None] * len(predicted)
    return collapse.reasons(
        bench.truth, predicted, majority(bench), labels=len(bench.labels), resamples=bench.evaluate.bootstrap,
        confidence=bench.evaluate.confidence, seed=bench.seed,
    )  # fmt: skip
