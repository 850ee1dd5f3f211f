from __future__ import annotations

import numpy as np
import pytest

from finetide.engine import batches
from finetide.engine.probe import fit
from finetide.engine.schedule import factor
from finetide.engine.specs import evaluation_steps


def test_every_row_comes_once_and_the_budget_holds() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 60, 500)
    found = list(batches.by_length(lengths, 128))
    assert sorted(place for batch in found for place in batch) == list(range(500))
    for batch in found:
        assert len(batch) == 1 or len(batch) * lengths[batch].max() <= 128


def test_a_row_longer_than_the_budget_goes_alone() -> None:
    assert list(batches.cut([0, 1, 2], np.array([500, 3, 3]), 100)) == [[0], [1, 2]]


def test_an_epoch_has_every_row_once_in_an_order_of_its_own() -> None:
    lengths = np.random.default_rng(0).integers(1, 60, 1003)
    first = batches.epoch(lengths, 32, np.random.default_rng(1))
    second = batches.epoch(lengths, 32, np.random.default_rng(2))
    assert sorted(place for batch in first for place in batch) == list(range(1003))
    assert first != second
    assert len(first) == 32
    padded = sum(len(batch) * int(lengths[batch].max()) for batch in first)
    assert padded < 1.15 * lengths.sum()


def test_the_rate_rises_and_falls() -> None:
    rates = [factor(step, 100, schedule="linear", warmup_share=0.1) for step in range(100)]
    assert rates[0] == pytest.approx(1 / 11)
    assert max(rates) == 1.0
    assert rates[10] == 1.0
    assert rates[-1] == pytest.approx(1 / 90)
    assert factor(99, 100, schedule="constant", warmup_share=0.0) == 1.0
    assert factor(50, 100, schedule="cosine", warmup_share=0.0) == pytest.approx(0.5)


def test_evaluations_are_spread_and_the_last_step_is_one() -> None:
    assert evaluation_steps(20, 10, 2) == {5, 10, 15, 20}
    assert evaluation_steps(10, 10, 1) == {10}
    assert max(evaluation_steps(7, 10, 2)) == 7
    assert {10, 20} <= evaluation_steps(20, 10, 3)


def test_the_probe_is_the_solution_that_scikit_learn_finds() -> None:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 6)).astype(np.float32)
    y = (x @ rng.normal(size=(6, 3)) + rng.normal(size=(300, 3))).argmax(1)
    l2 = 0.01
    mine = fit(x, y, (x, y), labels=3, strengths=[l2], max_iterations=1000)
    peer = LogisticRegression(C=1 / (l2 * len(y)), max_iter=2000, tol=1e-8).fit(x, y)
    np.testing.assert_allclose(mine.weight - mine.weight.mean(0), peer.coef_ - peer.coef_.mean(0), atol=2e-3)
    assert mine.accuracy == pytest.approx(peer.score(x, y))


def test_validation_chooses_the_strength() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 40)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int64)
    found = fit(x[:30], y[:30], (x[30:], y[30:]), labels=2, strengths=[1e-6, 0.3], max_iterations=500)
    assert found.l2 == 0.3
