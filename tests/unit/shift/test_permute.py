from __future__ import annotations

import numpy as np
import pytest

from finetide.shift import permute
from finetide.shift.permute import Draws, adjusted, combine, p_values


def resamples(draws: Draws, count: int) -> np.ndarray:
    return np.concatenate(list(draws.resamples(count, np.random.default_rng(1))))


def test_p_is_never_zero_and_counts_the_observed_draw() -> None:
    assert p_values(np.array([10.0, 1.0, 2.0, 3.0]))[0] == 1 / 4
    assert p_values(np.array([1.0, 1.0, 2.0, 3.0]))[0] == 1.0
    assert p_values(np.array([2.5, 1.0, 2.0, 3.0]))[0] == 2 / 4


def test_every_draw_keeps_the_sizes() -> None:
    sides = np.array([True] * 7 + [False] * 13)
    found = Draws.make(sides, 50, np.random.default_rng(0)).sides_of(np.ones(20, dtype=bool))
    assert found.shape == (51, 20)
    assert (found.sum(axis=1) == 7).all()
    assert (found[0] == sides).all()
    assert len({row.tobytes() for row in found}) > 40


def test_rows_of_a_group_move_together_and_are_resampled_together() -> None:
    sides = np.array([True] * 6 + [False] * 6)
    groups = ["a", "a", "a", "b", "b", "b", "c", "c", "d", "d", "e", "e"]
    draws = Draws.make(sides, 30, np.random.default_rng(0), groups)
    for found in (draws.sides_of(np.ones(12, dtype=bool)), resamples(draws, 30)):
        for draw in found:
            for group in set(groups):
                assert len({float(draw[place]) for place, name in enumerate(groups) if name == group}) == 1


def test_some_rows_keep_their_own_sizes_and_follow_the_draws_of_all() -> None:
    """Two of ten incoming rows are labelled, all ten of the reference: a draw has two labelled incoming rows, too."""
    sides = np.array([True] * 10 + [False] * 10)
    labelled = np.array([True] * 2 + [False] * 8 + [True] * 10)
    draws = Draws.make(sides, 200, np.random.default_rng(0))
    some, every = draws.sides_of(labelled), draws.sides_of(np.ones(20, dtype=bool))
    assert (some.sum(axis=1) == 2).all()
    assert (some[0] == sides[labelled]).all()
    # Whoever is among the two lowest of twelve is nearly always among the ten lowest of twenty.
    assert every[:, labelled][some].mean() > 0.95


def test_blocks_of_draws_are_the_draws_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    sides = np.arange(20) < 8
    draws = Draws.make(sides, 50, np.random.default_rng(0), [str(row // 2) for row in range(20)])
    views = [draws.view(np.ones(20, dtype=bool)), draws.view(np.arange(20) % 4 < 2, np.arange(20) // 10)]

    def found() -> list[bytes]:
        return [one.tobytes() for one in draws.evaluate([(view, lambda sides: sides) for view in views])]

    whole, resampled = found(), resamples(draws, 30)
    monkeypatch.setattr(permute, "BLOCK", 7 * 16)
    assert len(list(draws.resamples(30, np.random.default_rng(1)))) == 6
    assert found() == whole
    assert (resamples(draws, 30).sum(axis=1) == resampled.sum(axis=1)).all()
    nobody = Draws.make(sides, 0, np.random.default_rng(0)).sides_of(np.ones(20, dtype=bool))
    assert (nobody == sides[None]).all()


def test_the_draws_of_some_rows_are_those_of_all() -> None:
    draws = Draws.make(np.arange(12) < 5, 40, np.random.default_rng(0))
    places = np.array([0, 3, 4, 7, 9, 11])
    some = np.isin(np.arange(12), places)
    assert (draws.of(places).sides_of(np.ones(6, dtype=bool)) == draws.sides_of(some)).all()


def test_strata_keep_their_sizes_in_every_draw() -> None:
    sides = np.array([True, True, False, False, True, False, False, False])
    strata = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    found = Draws.make(sides, 40, np.random.default_rng(0)).sides_of(np.ones(8, dtype=bool), strata)
    assert (found[:, :4].sum(axis=1) == 2).all()
    assert (found[:, 4:].sum(axis=1) == 1).all()


def test_resamples_draw_each_side_from_itself() -> None:
    sides = np.array([True] * 5 + [False] * 15)
    times = resamples(Draws.make(sides, 1, np.random.default_rng(0)), 100)
    assert (times[:, sides].sum(axis=1) == 5).all()
    assert (times[:, ~sides].sum(axis=1) == 15).all()


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


def test_the_corrected_p_is_no_smaller_than_the_single_one_and_the_best_is_the_combined() -> None:
    rng = np.random.default_rng(2)
    columns = [rng.normal(size=200) for _ in range(5)]
    columns[1][0] = 2.5
    single = [p_values(column)[0] for column in columns]
    corrected = adjusted(columns)
    assert all(after >= before for before, after in zip(single, corrected, strict=True))
    assert combine(columns) == corrected[1] == min(corrected)
