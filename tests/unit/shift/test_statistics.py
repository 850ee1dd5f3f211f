from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from finetide.shift import statistics
from finetide.shift.texts import figures


def sides(incoming: int, reference: int) -> np.ndarray:
    return np.array([[True] * incoming + [False] * reference])


def test_auc_is_half_without_and_high_with_a_shift() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 16))
    same = statistics.domain_auc(x, sides(200, 200), np.random.default_rng(1))[0]
    assert 0.4 < same < 0.6
    x[:200, 0] += 2.0
    assert statistics.domain_auc(x, sides(200, 200), np.random.default_rng(1))[0] > 0.85


def test_auc_agrees_with_scikit_learn_on_separated_scores() -> None:
    x = np.concatenate([np.full((30, 1), 5.0), np.zeros((30, 1))]) + np.random.default_rng(0).normal(size=(60, 1))
    mine = statistics.domain_auc(x, sides(30, 30), np.random.default_rng(1))[0]
    assert mine == pytest.approx(roc_auc_score([1] * 30 + [0] * 30, x[:, 0]), abs=0.03)


def test_mmd_is_that_of_the_definition() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(11, 3))
    side = sides(5, 6)
    z = (x - x.mean(0)) / x.std(0)
    d = ((z[:, None] - z[None]) ** 2).sum(-1)
    k = np.exp(-d / np.median(d[np.triu_indices(11, 1)]))
    a, b = range(5), range(5, 11)
    expected = (
        np.mean([k[i, j] for i in a for j in a if i != j])
        + np.mean([k[i, j] for i in b for j in b if i != j])
        - 2 * np.mean([k[i, j] for i in a for j in b])
    )
    assert statistics.mmd(x, side)[0] == pytest.approx(expected)


def test_mean_difference_is_cohens_d() -> None:
    values = np.array([1.0, 2.0, 3.0, 5.0, 6.0, 7.0])
    pooled = np.sqrt((2 * 1.0 + 2 * 1.0) / 4)
    assert statistics.mean_difference(values, sides(3, 3))[0] == pytest.approx(4 / pooled)
    assert statistics.signed_difference(values, sides(3, 3)[0]) == pytest.approx(-4.0)


def test_total_variation() -> None:
    labels = ["a", "a", "b", "b", "b", "c"]
    assert statistics.total_variation(labels, sides(3, 3))[0] == pytest.approx(0.5 * (2 / 3 + 1 / 3 + 1 / 3))
    assert statistics.total_variation(["a"] * 6, sides(3, 3))[0] == 0


def test_auc_interval_holds_the_value_and_narrows_with_rows() -> None:
    low, high = statistics.auc_interval(0.8, 50, 50)
    narrow = statistics.auc_interval(0.8, 500, 500)
    assert low < 0.8 < high
    assert high - low > narrow[1] - narrow[0]


def test_text_figures_are_what_they_say() -> None:
    found = figures(["Hello WORLD 42!", "hello there", ""])
    assert found["words"].tolist() == [3.0, 2.0, 0.0]
    assert found["digits"][0] == pytest.approx(2 / 15)
    assert found["capitals"][0] == pytest.approx(6 / 15)
    assert found["punctuation"][0] == pytest.approx(1 / 15)
    assert found["rare words"].tolist() == [pytest.approx(2 / 3), 0.5, 0.0]
