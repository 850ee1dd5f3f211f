"""From finished runs to named numbers: means over the seeds, intervals over the test rows, differences in pairs."""

from __future__ import annotations

from collections.abc import Sequence

from finetide.contracts.metrics import Measure
from finetide.contracts.study import FinishedRun, Method, StudyResult, StudyRun
from finetide.evaluation.measures import BoolArray
from finetide.metrics.classification import FloatArray
from finetide.seeding import generator
from finetide.studies import collapse
from finetide.studies.bench import Bench
from finetide.studies.describe import whole_role

Runs = Sequence[tuple[int, FinishedRun]]


def result(
    bench: Bench, method: Method, share: float | None, runs: Runs, yardstick: Runs = (), *, policy: str | None = None
) -> StudyResult:
    """Args: runs, yardstick: seed and run; ``yardstick`` is what the difference is taken from, if anything."""
    kind, sides = bench.kind, bench.sides
    mine, theirs = _grades(bench, runs), _grades(bench, yardstick)
    roles: dict[str, dict[str, Measure]] = {}
    against: dict[str, Measure] = {}
    for role, mask in bench.masks.items():
        roles[role] = {metric: _mean(bench, role, mask, metric, mine) for metric in kind.metrics}
        if theirs:
            against[role] = _mean(bench, role, mask, kind.metrics[0], mine, theirs)
    shown = tuple(
        StudyRun(
            seed=seed,
            measures={metric: kind.value(metric, grades, sides) for metric in kind.metrics},
            validation=run.validation,
            steps=run.steps,
            seconds=run.seconds,
            joules=run.joules,
            gap=run.gap,
            trainable=run.trainable,
            collapsed=reason,
        )
        for (seed, run), grades, reason in zip(runs, mine, _collapsed(bench, method, mine), strict=True)
    )
    return StudyResult(
        method=method, policy=policy, share=share, rows=runs[0][1].rows, roles=roles, against=against, shallower=None,
        runs=shown,
    )  # fmt: skip


def difference(bench: Bench, runs: Runs, minus: Runs) -> Measure:
    """The main metric of ``runs`` less that of ``minus``, on all test rows together."""
    role = whole_role(bench.masks)
    return _mean(bench, role, bench.masks[role], bench.kind.metrics[0], _grades(bench, runs), _grades(bench, minus))


def _grades(bench: Bench, runs: Runs) -> list[FloatArray]:
    return [bench.kind.grade(run.predicted, bench.sides) for _, run in runs]


def _mean(
    bench: Bench, role: str, mask: BoolArray, metric: str, runs: Sequence[FloatArray], minus: Sequence[FloatArray] = ()
) -> Measure:
    found = bench.kind.mean(
        metric, [one[mask] for one in runs], [one[mask] for one in minus], bench.sides,
        resamples=bench.evaluate.bootstrap, confidence=bench.evaluate.confidence,
        chance=generator(bench.seed, "study", role, metric, "difference" if minus else "alone"),
    )  # fmt: skip
    return Measure(value=found.value, low=found.low, high=found.high, rows=int(mask.sum()))


def _collapsed(bench: Bench, method: Method, runs: Sequence[FloatArray]) -> list[str | None]:
    """Only what trains by gradient descent can."""
    if method in ("probe", "zero-shot"):
        return [None] * len(runs)
    guesses = {name: bench.kind.grade(said, bench.sides) for name, said in bench.guesses.items()}
    return collapse.reasons(
        bench.kind, bench.sides, runs, guesses, resamples=bench.evaluate.bootstrap,
        confidence=bench.evaluate.confidence, seed=bench.seed,
    )  # fmt: skip
