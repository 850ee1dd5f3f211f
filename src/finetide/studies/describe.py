"""What all studies say of themselves, and numbers as they write them."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from finetide.contracts.metrics import Measure
from finetide.contracts.study import FinishedRun, Kind, Method, Study, StudyResult
from finetide.studies.bench import Bench
from finetide.studies.methods import MADE


def describe(
    bench: Bench,
    kind: Kind,
    results: Sequence[StudyResult],
    runs: Sequence[FinishedRun],
    *,
    yardstick: str,
    sentence: str,
    left_out: Mapping[Method, str],
    made: Mapping[Method, str] | None = None,
) -> Study:
    """Args: made: how methods were made, where it was not as in other studies."""
    how = {**MADE, **bench.kind.made, **(made or {})}
    return Study(
        kind=kind,
        model=bench.model,
        split_sha256=bench.split_sha256,
        metrics=bench.kind.metrics,
        unit=bench.kind.unit,
        labels=len(bench.labels) if bench.task.one_label else None,
        train_rows=len(bench.train),
        validation_rows=len(bench.validation),
        test_rows={role: int(mask.sum()) for role, mask in bench.masks.items()},
        confidence=bench.evaluate.confidence,
        naive=naive(bench),
        energy="; ".join(dict.fromkeys(run.energy for run in runs)),
        yardstick=yardstick,
        made={one.method: how[one.method] for one in results},
        left_out=dict(left_out),
        results=tuple(results),
        sentence=sentence,
    )


def naive(bench: Bench) -> dict[str, float]:
    """Of what one says without any model, the main metric on all test rows together, by baseline."""
    kind, sides = bench.kind, bench.sides
    return {name: kind.value(kind.metrics[0], kind.grade(said, sides), sides) for name, said in bench.guesses.items()}


def whole_role(roles: Collection[str]) -> str:
    """All test rows together: ``all`` where there are two roles, else the only one."""
    return "all" if "all" in roles else next(iter(roles))


def over_runs(one: StudyResult, name: Literal["gap", "trainable", "validation"]) -> float | None:
    """The mean over the seeds; None where a run has no such value."""
    values = [getattr(run, name) for run in one.runs]
    return None if None in values else statistics.fmean(values)


def points(difference: Measure) -> str:
    """A difference of shares in percentage points with its interval."""
    ends = ""
    if difference.low is not None and difference.high is not None:
        ends = f", interval {difference.low * 100:+.1f} to {difference.high * 100:+.1f}"
    return f"{difference.value * 100:+.1f} points{ends}"


def short_points(difference: Measure) -> str:
    """The same for a table."""
    if difference.low is None or difference.high is None:
        return f"{difference.value * 100:+.1f}"
    return f"{difference.value * 100:+.1f} ({difference.low * 100:+.1f} to {difference.high * 100:+.1f})"
