"""Which runs count as collapsed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from finetide.evaluation.kinds import Sides
from finetide.evaluation.studying_labels import LABELS
from finetide.metrics.classification import IntArray
from finetide.studies.collapse import reasons, spread

ROWS = 400
TRUTH: IntArray = np.arange(ROWS, dtype=np.int64) % 2
MAJORITY: IntArray = np.zeros(ROWS, dtype=np.int64)
SIDES = Sides(pd.DataFrame(), pd.DataFrame(), pd.DataFrame(), ("no", "yes"))


def right(share: float) -> IntArray:
    """Predictions of which so many are right, alike among both labels."""
    wrong = np.arange(ROWS) >= share * ROWS
    return np.where(wrong, 1 - TRUTH, TRUTH)


def graded(truth: IntArray, said: IntArray) -> IntArray:
    return np.stack([truth, said], axis=1)


def found(*runs: IntArray) -> list[str | None]:
    return reasons(
        LABELS, SIDES, [graded(TRUTH, run) for run in runs], {"majority": graded(TRUTH, MAJORITY)}, resamples=400,
        confidence=0.95, seed=1,
    )  # fmt: skip


def test_good_runs_are_not_collapsed() -> None:
    assert found(right(0.9), right(0.88), right(0.91)) == [None, None, None]


def test_a_run_that_says_one_label_is() -> None:
    assert found(right(0.9), MAJORITY, right(0.88)) == [
        None, "50.0 % is not told from 50.0 % (most frequent label)", None,
    ]  # fmt: skip


def test_one_run_alone_is_held_against_the_majority() -> None:
    assert found(right(0.52))[0] is not None
    assert found(right(0.7)) == [None]


def test_a_run_far_below_the_others_is() -> None:
    assert found(right(0.9), right(0.7), right(0.88)) == [
        None, "70.0 % is far below the 88.0 % in the middle of the other seeds", None,
    ]  # fmt: skip


def test_four_points_are_not_far() -> None:
    assert found(right(0.9), right(0.86), right(0.9)) == [None, None, None]


def test_of_two_the_lower_one_is() -> None:
    assert [reason is not None for reason in found(right(0.9), right(0.7))] == [False, True]


def test_few_rows_tell_little() -> None:
    """Ten points on 20 rows are two rows."""
    few = slice(0, 20)
    other = TRUTH[few].copy()
    other[:2] = 1 - other[:2]
    again = TRUTH[few].copy()
    again[2:6] = 1 - again[2:6]
    said = reasons(
        LABELS, SIDES, [graded(TRUTH[few], run) for run in (other, again)],
        {"majority": graded(TRUTH[few], MAJORITY[few])}, resamples=400, confidence=0.95, seed=1,
    )  # fmt: skip
    assert said == [None, None]


def test_of_several_guesses_the_best_is_the_yardstick_and_below_it_is_said() -> None:
    guesses = {"no answer": graded(TRUTH, right(0.3)), "lexical": graded(TRUTH, right(0.8))}
    said = reasons(
        LABELS, SIDES, [graded(TRUTH, right(share)) for share in (0.9, 0.82, 0.5)], guesses, resamples=400,
        confidence=0.95, seed=1,
    )  # fmt: skip
    assert said[0] is None
    assert said[2] == "50.0 % is below 80.0 % (sentence with most of the words)"


def test_spread_is_of_a_sample() -> None:
    assert spread([0.5]) == 0.0
    assert spread([0.4, 0.6]) == pytest.approx(0.1414, abs=1e-4)
