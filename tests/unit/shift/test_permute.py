from __future__ import annotations

import numpy as np
import pytest

from finetide.shift.permute import assignments, combine, p_values


def test_p_is_never_zero_and_counts_the_observed_draw() -> None:
    assert p_values(np.array([10.0, 1.0, 2.0, 3.0]))[0] == 1 / 4
    assert p_values(np.array([1.0, 1.0, 2.0, 3.0]))[0] == 1.0
    assert p_values(np.array([2.5, 1.0, 2.0, 3.0]))[0] == 2 / 4


def test_every_draw_keeps_the_sizes() -> None:
    sides = np.array([True] * 7 + [False] * 13)
    found = assignments(sides, 50, np.random.default_rng(0))
    assert (found.sum(axis=1) == 7).all()
    assert (found[0] == sides).all()
    assert len({row.tobytes() for row in found}) > 40


def test_rows_of_a_group_move_together() -> None:
    sides = np.array([True] * 6 + [False] * 6)
    groups = ["a", "a", "a", "b", "b", "b", "c", "c", "d", "d", "e", "e"]
    for draw in assignments(sides, 30, np.random.default_rng(0), groups):
        for group in set(groups):
            assert len({bool(draw[place]) for place, name in enumerate(groups) if name == group}) == 1


@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_the_combined_rate_is_the_promised_one(alpha: float) -> None:
    """Three dependent statistics under the null hypothesis, 1000 times: the rate is alpha within its binomial error."""
    rng = np.random.default_rng(7)
    alarms = 0
    trials = 1000
    for _ in range(trials):
        base = rng.normal(size=100)
        columns = [base, base + rng.normal(size=100), rng.normal(size=100) ** 2]
        alarms += combine(columns) <= alpha
    bound = 3 * np.sqrt(alpha * (1 - alpha) / trials)
    assert abs(alarms / trials - alpha) < bound


def test_a_clear_effect_in_one_of_many_statistics_reaches_the_smallest_p() -> None:
    rng = np.random.default_rng(1)
    columns = [rng.normal(size=200) for _ in range(8)]
    columns[3][0] = 50.0
    assert combine(columns) == 1 / 200
