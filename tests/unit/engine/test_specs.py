from __future__ import annotations

import pytest

from finetide.engine.specs import Score, evaluation_steps, steps_per_epoch


def test_evaluations_are_spread_and_the_last_step_is_one() -> None:
    assert evaluation_steps(20, 10, 2) == {5, 10, 15, 20}
    assert evaluation_steps(10, 10, 1) == {10}
    assert max(evaluation_steps(7, 10, 2)) == 7
    assert {10, 20} <= evaluation_steps(20, 10, 3)


def test_the_last_step_of_an_epoch_may_have_fewer_rows() -> None:
    assert steps_per_epoch(33, 16) == 3
    assert steps_per_epoch(32, 16) == 2


@pytest.mark.parametrize(
    ("other", "better"),
    [(Score(0.8, 0.1), True), (Score(0.9, 0.6), True), (Score(0.9, 0.5), False), (Score(0.91, 9.0), False)],
)
def test_accuracy_decides_and_then_the_loss(other: Score, better: bool) -> None:
    assert Score(0.9, 0.5).beats(other) is better
