"""The probe against scikit-learn, and how its strength is chosen."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from finetide.engine.probe import fit, score


def data(rows: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 6)).astype(np.float32)
    return x, (x @ rng.normal(size=(6, 3)) + rng.normal(size=(rows, 3))).argmax(1)


@pytest.mark.parametrize("l2", [0.001, 0.1])
def test_the_solution_is_the_one_that_scikit_learn_finds(l2: float) -> None:
    x, y = data()
    mine = fit(x, y, (x, y), labels=3, strengths=[l2], max_iterations=1000)
    peer = LogisticRegression(C=1 / (l2 * len(y)), max_iter=2000, tol=1e-8).fit(x, y)
    np.testing.assert_allclose(mine.weight - mine.weight.mean(0), peer.coef_ - peer.coef_.mean(0), atol=1e-3)
    np.testing.assert_allclose(mine.bias - mine.bias.mean(), peer.intercept_ - peer.intercept_.mean(), atol=1e-3)
    assert mine.accuracy == pytest.approx(peer.score(x, y))


def test_a_warm_start_ends_where_a_cold_one_does() -> None:
    x, y = data()
    cold = fit(x, y, (x, y), labels=3, strengths=[0.001], max_iterations=1000)
    path = fit(x, y, (x, y), labels=3, strengths=[0.001, 10.0, 3.0], max_iterations=1000)
    assert path.l2 == 0.001
    np.testing.assert_allclose(path.weight - path.weight.mean(0), cold.weight - cold.weight.mean(0), atol=1e-3)


def test_validation_chooses_the_strength() -> None:
    """One telling feature among forty, labels half noise, sixty rows: without a penalty the noise is learnt."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2060, 40)).astype(np.float32)
    y = (x[:, 0] + rng.normal(size=2060) > 0).astype(np.int64)
    train, held = (x[:60], y[:60]), (x[60:], y[60:])
    weak, strong = (fit(*train, held, labels=2, strengths=[l2], max_iterations=500) for l2 in (1e-6, 0.3))
    assert strong.accuracy > weak.accuracy
    assert fit(*train, held, labels=2, strengths=[1e-6, 0.3], max_iterations=500).l2 == 0.3
    assert fit(*train, train, labels=2, strengths=[1e-6, 0.3], max_iterations=500).l2 == 1e-6


def test_on_equal_scores_the_stronger_penalty_wins() -> None:
    x, y = data()
    nothing = np.zeros((5, 6), dtype=np.float32), np.zeros(5, dtype=np.int64)
    found = fit(x, y % 1, nothing, labels=1, strengths=[0.01, 0.1], max_iterations=50)
    assert found.l2 == 0.1


def test_the_iterations_are_limited() -> None:
    x, y = data()
    assert fit(x, y, (x, y), labels=3, strengths=[1e-4], max_iterations=3).iterations == 3


def test_the_same_data_give_the_same_bytes() -> None:
    x, y = data()
    one, other = (fit(x, y, (x, y), labels=3, strengths=[0.01, 0.1], max_iterations=50) for _ in range(2))
    assert (one.weight.tobytes(), one.bias.tobytes()) == (other.weight.tobytes(), other.bias.tobytes())


def test_the_score_is_accuracy_and_mean_cross_entropy() -> None:
    weight, bias = np.eye(2, dtype=np.float32), np.zeros(2, dtype=np.float32)
    features = np.array([[1, 0], [0, 1], [1, 0]], dtype=np.float32)
    accuracy, loss = score(weight, bias, features, np.array([0, 1, 1]))
    right, wrong = -np.log(np.e / (np.e + 1)), -np.log(1 / (np.e + 1))
    assert accuracy == pytest.approx(2 / 3)
    assert loss == pytest.approx((2 * right + wrong) / 3, abs=1e-6)
