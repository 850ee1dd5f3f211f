"""The probe against scikit-learn, and how its strength is chosen."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from finetide.engine.probe import fit, out_of_fold, score


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


def test_probabilities_out_of_fold_are_those_of_scikit_learn() -> None:
    x, y = data()
    folds = np.arange(len(y)) % 3
    found, others = out_of_fold(x, y, folds, x[:7], labels=3, strengths=[0.01], max_iterations=1000)
    expected, rest = np.zeros((len(y), 3)), np.zeros((7, 3))
    for fold in range(3):
        seen = folds != fold
        peer = LogisticRegression(C=1 / (0.01 * seen.sum()), max_iter=2000, tol=1e-8).fit(x[seen], y[seen])
        expected[~seen] = peer.predict_proba(x[~seen])
        rest += peer.predict_proba(x[:7]) / 3
    np.testing.assert_allclose(found, expected, atol=1e-3)
    np.testing.assert_allclose(others, rest, atol=1e-3)


def test_no_row_is_predicted_by_a_probe_that_saw_it() -> None:
    """Random labels in many dimensions: known by heart when seen, at chance when not."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 300)).astype(np.float32), rng.integers(0, 2, 200)
    assert fit(x, y, (x, y), labels=2, strengths=[1e-4], max_iterations=200).accuracy == 1.0
    found, _ = out_of_fold(x, y, np.arange(200) % 5, x[:0], labels=2, strengths=[1e-4], max_iterations=200)
    assert 0.35 < float((found.argmax(1) == y).mean()) < 0.65


def test_the_first_fold_chooses_the_strength_of_all() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100, 40)).astype(np.float32)
    y = (x[:, 0] + rng.normal(size=100) > 0).astype(np.int64)
    folds = np.arange(100) % 4
    both, _ = out_of_fold(x, y, folds, x[:0], labels=2, strengths=[1e-6, 0.3], max_iterations=500)
    strong, _ = out_of_fold(x, y, folds, x[:0], labels=2, strengths=[0.3], max_iterations=500)
    np.testing.assert_array_equal(both, strong)


def test_a_label_that_no_other_fold_has_is_no_error() -> None:
    x, y = data(60)
    y = np.minimum(y, 1)
    y[0] = 2
    found, _ = out_of_fold(x, y, np.arange(60) % 5, x[:0], labels=3, strengths=[0.01], max_iterations=100)
    assert found[0].argmax() != 2
    np.testing.assert_allclose(found.sum(1), 1.0)
