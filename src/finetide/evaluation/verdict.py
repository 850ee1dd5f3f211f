"""May the challenger go into service? A pure function of predictions on the same labelled test rows.

The challenger is rejected when any of these holds (and promoted otherwise):

1. There is no labelled test row.
2. Its metric lies below ``floor``.
3. It is significantly worse than the champion: the whole interval of the paired difference lies below 0.
4. It loses more than ``non_inferiority_margin`` against the champion on all rows, significant or not.
5. A slice (a role or a label with at least ``min_slice_rows`` rows) lost more than ``slice_margin``, and a one-sided
   exact McNemar test, corrected by Holm over the slices, says that this is no chance.
6. A slice lies below ``label_floor`` and the champion's does not.

Rule 4 looks at the point difference and not, as textbooks on non-inferiority do, at the lower end of the interval: on
the 150 test rows that such models often have, that end lies five points below equality for models that are equally
good, so nothing could ever be promoted. Rule 3 is the part of it that evidence supports. A slice has fewer rows still;
there the point difference alone would reject by chance, so rule 5 asks for evidence as well.

Slices are compared by the share of rows that are right (of a label: its recall), whatever the metric of the whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from finetide.config.judge import JudgeParams
from finetide.contracts.judge import SliceResult
from finetide.contracts.metrics import METRIC_NAMES
from finetide.evaluation.align import label_indices, with_unknown
from finetide.evaluation.measures import BoolArray
from finetide.metrics.bootstrap import Interval, paired_bootstrap
from finetide.metrics.classification import METRICS, FloatArray, IntArray, count
from finetide.metrics.paired import holm, mcnemar, mcnemar_worse
from finetide.seeding import generator

# Differences of shares are compared with settings that people write in decimals: 0.89 - 0.90 is below -0.01 in floats.
ROUNDING = 1e-9
# What the number of a slice of labelled rows is, in words after it.
RIGHT = "of its rows are right"
# Of each row, whether it is right or how far.
Scores = BoolArray | FloatArray


@dataclass(frozen=True)
class Judgement:
    """JudgeVerdict without the hashes. ``against`` the champion is null where there is none, ``reasons`` (why the
    challenger was rejected) empty where it was not."""

    reasons: tuple[str, ...]
    rows: int
    challenger: float
    champion: float | None
    against: Interval | None
    p: float | None
    slices: tuple[SliceResult, ...]
    margin: float

    @property
    def promote(self) -> bool:
        return not self.reasons

    def sentence(self, metric: str) -> str:
        """The reason as a person would say it. Args: metric: in words."""
        if self.reasons:
            return "; ".join(self.reasons)
        reached = f"{metric} {self.challenger:.3f} on {self.rows} test rows"
        if self.against is None:
            return f"{reached}, every floor is reached, and there is no champion to beat"
        against = f"against the champion {_shown(self.against)}"
        return f"{reached}, {against}, where {self.margin:g} may be lost, and no slice is worse"


def judge(
    truth: Sequence[str],
    challenger: Sequence[str],
    champion: Sequence[str] | None,
    roles: Sequence[str],
    params: JudgeParams,
    seed: int,
) -> Judgement:
    """Compare the predictions of two models, or those of one model with the floors.

    Args:
        truth, challenger, champion, roles: of each labelled test row, in one order. Labels are names: a model that
            does not know a label never says it, and so is wrong on its rows.
        champion: None where there is none yet.
    """
    margin = params.non_inferiority_margin
    if not truth:
        return Judgement(("there is no labelled test row to judge on",), 0, 0.0, None, None, None, (), margin)
    rows = _Rows.of(truth, challenger, champion)
    metric = METRICS[params.metric]
    value = float(metric(count(rows.truth, rows.challenger, rows.labels)))
    reasons = []
    if value < params.floor - ROUNDING:
        reasons.append(f"{METRIC_NAMES[params.metric]} {value:.3f} is below the floor of {params.floor:g}")
    against, p, before = None, None, None
    if rows.champion is not None:
        against = rows.difference(np.ones(len(truth), dtype=bool), params.metric, params, seed, "whole")
        before = float(metric(count(rows.truth, rows.champion, rows.labels)))
        p = mcnemar(rows.right(rows.challenger), rows.right(rows.champion))
        reasons += worse_than_champion(against, params)
    slices = _judge_slices(rows, _masks(truth, roles), params, seed)
    reasons += [f"{part.slice}: {part.reason}" for part in slices if not part.passed]
    return Judgement(tuple(reasons), len(truth), value, before, against, p, slices, margin)


@dataclass(frozen=True)
class _Rows:
    """Label indices of the same rows, shape [rows] each, below ``labels``."""

    truth: IntArray
    challenger: IntArray
    champion: IntArray | None
    labels: int

    @classmethod
    def of(cls, truth: Sequence[str], challenger: Sequence[str], champion: Sequence[str] | None) -> _Rows:
        known = with_unknown((), [*truth, *challenger, *(champion or ())])
        before = None if champion is None else label_indices(champion, known)
        return cls(label_indices(truth, known), label_indices(challenger, known), before, len(known))

    def right(self, predicted: IntArray) -> BoolArray:
        return np.asarray(predicted == self.truth)

    def difference(self, mask: BoolArray, metric: str, params: JudgeParams, seed: int, name: str) -> Interval:
        """Challenger minus champion on the rows of ``mask``."""
        assert self.champion is not None
        return paired_bootstrap(
            self.truth[mask],
            self.challenger[mask],
            self.champion[mask],
            labels=self.labels,
            metric=METRICS[metric],
            resamples=params.bootstrap,
            confidence=params.confidence,
            chance=generator(seed, "judge", name),
        )


def worse_than_champion(against: Interval, params: JudgeParams) -> list[str]:
    metric = METRIC_NAMES[params.metric]
    if against.high < -ROUNDING:
        return [f"significantly worse than the champion: {metric} {_shown(against)}"]
    if against.value < -params.non_inferiority_margin - ROUNDING:
        margin = params.non_inferiority_margin
        return [f"loses more than the margin of {margin:g} against the champion: {metric} {_shown(against)}"]
    return []


def _masks(truth: Sequence[str], roles: Sequence[str]) -> dict[str, BoolArray]:
    """Every role and every label of the rows → its rows."""
    by_role, by_label = np.asarray(roles, dtype=object), np.asarray(truth, dtype=object)
    return {
        **{f"role:{role}": np.asarray(by_role == role) for role in sorted(set(roles), reverse=True)},
        **{f"label:{label}": np.asarray(by_label == label) for label in sorted(set(truth))},
    }


def _judge_slices(
    rows: _Rows, masks: Mapping[str, BoolArray], params: JudgeParams, seed: int
) -> tuple[SliceResult, ...]:
    judged = [name for name, mask in masks.items() if mask.sum() >= params.min_slice_rows]
    now = rows.right(rows.challenger)
    if rows.champion is None:
        return tuple(slice_alone(name, now[mask], name in judged, params, RIGHT) for name, mask in masks.items())
    before = rows.right(rows.champion)
    p_values = dict(zip(judged, holm([mcnemar_worse(now[masks[n]], before[masks[n]]) for n in judged]), strict=True))
    found = []
    for name, mask in masks.items():
        against = rows.difference(mask, "accuracy", params, seed, name)
        found.append(slice_against(name, now[mask], before[mask], against, p_values.get(name), params, RIGHT))
    return tuple(found)


def slice_alone(name: str, now: Scores, judged: bool, params: JudgeParams, reached: str) -> SliceResult:
    """Args: reached: what the mean of ``now`` is, in words after the number."""
    share = float(now.mean())
    low = judged and share < params.label_floor - ROUNDING
    reason = (
        _below_floor(share, params, reached) if low else ("reaches the floor" if judged else _too_few(len(now), params))
    )
    return SliceResult(
        slice=name,
        rows=len(now),
        challenger=share,
        champion=None,
        difference=None,
        low=None,
        high=None,
        passed=not low,
        reason=reason,
    )


def slice_against(
    name: str, now: Scores, before: Scores, against: Interval, p: float | None, params: JudgeParams, reached: str
) -> SliceResult:
    """Args: p: one-sided and corrected; None where the slice has too few rows to be judged. reached: as above."""
    share, champion = float(now.mean()), float(before.mean())
    passed, reason = True, "not worse than the champion"
    if p is None:
        reason = _too_few(len(now), params)
    elif -against.value > params.slice_margin + ROUNDING and p <= 1 - params.confidence + ROUNDING:
        passed = False
        reason = f"loses {-against.value:.3f} against the champion, more than {params.slice_margin:g} (p = {p:.2g})"
    elif share < params.label_floor - ROUNDING <= champion:
        passed, reason = False, f"{_below_floor(share, params, reached)}; the champion has {champion:.3f}"
    elif share < params.label_floor - ROUNDING:
        reason = "below the floor, as is the champion"
    elif against.value < -ROUNDING:
        reason = "loses within the margin" if -against.value <= params.slice_margin + ROUNDING else _by_chance(p)
    return SliceResult(
        slice=name,
        rows=len(now),
        challenger=share,
        champion=champion,
        difference=against.value,
        low=against.low,
        high=against.high,
        passed=passed,
        reason=reason,
    )


def _below_floor(share: float, params: JudgeParams, reached: str) -> str:
    return f"{share:.3f} {reached}, below the floor of {params.label_floor:g}"


def _too_few(rows: int, params: JudgeParams) -> str:
    return f"shown, not judged: {rows} rows of the {params.min_slice_rows} needed"


def _by_chance(p: float) -> str:
    return f"loses, but not more than chance does (p = {p:.2g})"


def _shown(against: Interval) -> str:
    return f"{against.value:+.3f} (interval {against.low:+.3f} to {against.high:+.3f})"
