"""Judges answers to questions, by their F1 or exact match; see `finetide.evaluation.kinds.Judging`.

The rules are those of `finetide.evaluation.verdict`. Slices are roles, kinds of question, and questions with and
without an answer. What two models score on the same questions is compared by flipping the signs of the differences,
where labels have McNemar's test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from finetide.config.questions import QuestionJudgeParams
from finetide.contracts.judge import SliceResult
from finetide.contracts.metrics import METRIC_NAMES
from finetide.data.questions.answers import golds
from finetide.evaluation.measures import BoolArray
from finetide.evaluation.verdict import ROUNDING, Judgement, slice_against, slice_alone, worse_than_champion
from finetide.metrics.answers import exact_match, f1, question_type
from finetide.metrics.bootstrap import Interval
from finetide.metrics.classification import FloatArray
from finetide.metrics.means import bootstrap_mean, sign_flip
from finetide.metrics.paired import holm
from finetide.seeding import generator

METRICS: Mapping[str, Callable[[str, Sequence[str]], float]] = {"f1": f1, "exact_match": exact_match}
# What the number of a slice is, in words after it.
REACHED = {"f1": "is its F1", "exact_match": "of its answers match exactly"}


class _Answers:
    params = QuestionJudgeParams

    def judge(
        self, test: pd.DataFrame, challenger: Sequence[Any], champion: Sequence[Any] | None, params: Any, seed: int
    ) -> Judgement:
        right = [golds(said) or () for said in test["answers"]]
        metric = METRICS[params.metric]

        def values(of: Sequence[Any]) -> FloatArray:
            return np.array([metric(one.text, gold) for one, gold in zip(of, right, strict=True)], np.float64)

        before = None if champion is None else values(champion)
        return judge_values(values(challenger), before, masks_of(test), params, seed)


def masks_of(test: pd.DataFrame) -> dict[str, BoolArray]:
    """Every role, kind of question and kind of answer → its rows."""
    columns = {
        "role": list(test["role"]),
        "question": [question_type(question) for question in test["question"]],
        "label": list(test["label"]),
    }
    found: dict[str, BoolArray] = {}
    for name, values in columns.items():
        of = np.asarray(values, dtype=object)
        for value in sorted(set(values), reverse=name == "role"):
            found[f"{name}:{value}"] = np.asarray(of == value)
    return found


def judge_values(
    challenger: FloatArray, champion: FloatArray | None, masks: Mapping[str, BoolArray], params: QuestionJudgeParams,
    seed: int,
) -> Judgement:  # fmt: skip
    """Compare what two models score on the same questions, or what one does with the floors.

    Args: challenger, champion: scores [rows], 0 to 1.
    """
    margin = params.non_inferiority_margin
    if not len(challenger):
        return Judgement(("there is no labelled test row to judge on",), 0, 0.0, None, None, None, (), margin)
    value = float(challenger.mean())
    reasons = []
    if value < params.floor - ROUNDING:
        reasons.append(f"{METRIC_NAMES[params.metric]} {value:.3f} is below the floor of {params.floor:g}")
    against, p, before = None, None, None
    if champion is not None:
        against, p, _ = _difference(challenger - champion, params, seed, "whole")
        before = float(champion.mean())
        reasons += worse_than_champion(against, params)
    slices = _slices(challenger, champion, masks, params, seed)
    reasons += [f"{part.slice}: {part.reason}" for part in slices if not part.passed]
    return Judgement(tuple(reasons), len(challenger), value, before, against, p, slices, margin)


def _difference(
    differences: FloatArray, params: QuestionJudgeParams, seed: int, name: str
) -> tuple[Interval, float, float]:
    """Mean difference with its interval, and p two-sided and against being worse."""
    resampled, flipped = generator(seed, "judge", name), generator(seed, "judge", name, "signs")
    draws = params.bootstrap
    interval = bootstrap_mean(differences, resamples=draws, confidence=params.confidence, chance=resampled)
    return interval, *sign_flip(differences, draws=draws, chance=flipped)


def _slices(
    now: FloatArray, before: FloatArray | None, masks: Mapping[str, BoolArray], params: QuestionJudgeParams, seed: int
) -> tuple[SliceResult, ...]:
    judged, reached = (
        [name for name, mask in masks.items() if mask.sum() >= params.min_slice_rows],
        REACHED[params.metric],
    )
    if before is None:
        return tuple(slice_alone(name, now[mask], name in judged, params, reached) for name, mask in masks.items())
    compared = {name: _difference((now - before)[mask], params, seed, name) for name, mask in masks.items()}
    p_values = dict(zip(judged, holm([compared[name][2] for name in judged]), strict=True))
    return tuple(
        slice_against(name, now[mask], before[mask], compared[name][0], p_values.get(name), params, reached)
        for name, mask in masks.items()
    )


ANSWERS = _Answers()
