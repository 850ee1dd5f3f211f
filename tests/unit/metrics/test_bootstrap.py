import time

import numpy as np
import pytest
from sklearn.metrics import f1_score

from finetide.metrics import bootstrap as module
from finetide.metrics.bootstrap import bootstrap, mean_bootstrap, paired_bootstrap
from finetide.metrics.classification import accuracy, macro_f1
from finetide.seeding import generator


def noisy(rows: int, labels: int, right: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seed)
    truth = chance.integers(0, labels, rows)
    return truth, np.where(chance.random(rows) < right, truth, chance.integers(0, labels, rows))


def interval(truth, predicted, labels, metric=accuracy, seed=1, resamples=2000):
    return bootstrap(
        truth, predicted, labels=labels, metric=metric, resamples=resamples, confidence=0.95, chance=generator(seed)
    )


def test_interval_of_an_accuracy_is_that_of_the_binomial():
    truth, predicted = np.zeros(400, dtype=np.int64), np.array([0] * 320 + [1] * 80)
    found = interval(truth, predicted, 2, resamples=20000)
    assert found.value == pytest.approx(0.8)
    width = 1.96 * np.sqrt(0.8 * 0.2 / 400)
    assert (found.low, found.high) == pytest.approx((0.8 - width, 0.8 + width), abs=0.004)


def test_interval_of_macro_f1_is_that_of_resampled_rows():
    truth, predicted = noisy(300, 5, 0.7)
    chance = np.random.default_rng(9)
    draws = []
    for _ in range(400):
        index = chance.integers(0, 300, 300)
        draws.append(f1_score(truth[index], predicted[index], average="macro"))
    found = interval(truth, predicted, 5, macro_f1)
    assert found.value == pytest.approx(f1_score(truth, predicted, average="macro"))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])), abs=0.015)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    truth, predicted = noisy(200, 4, 0.6)
    assert interval(truth, predicted, 4, macro_f1) == interval(truth, predicted, 4, macro_f1)
    assert interval(truth, predicted, 4, macro_f1) != interval(truth, predicted, 4, macro_f1, seed=2)


def test_the_size_of_a_chunk_changes_nothing(monkeypatch):
    truth, predicted = noisy(200, 4, 0.6)
    whole = interval(truth, predicted, 4, macro_f1, resamples=100)
    monkeypatch.setattr(module, "RESAMPLES_AT_ONCE", 7)
    assert interval(truth, predicted, 4, macro_f1, resamples=100) == whole


def test_a_thousand_resamples_of_three_thousand_rows_take_about_a_second():
    truth, predicted = noisy(3000, 77, 0.9)
    start = time.process_time()
    interval(truth, predicted, 77, macro_f1, resamples=1000)
    assert time.process_time() - start < 3.0


def test_paired_difference_of_equal_predictions_is_exactly_zero():
    truth, predicted = noisy(100, 3, 0.7)
    found = paired_bootstrap(
        truth, predicted, predicted, labels=3, metric=macro_f1, resamples=200, confidence=0.95, chance=generator(1)
    )
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


def test_paired_difference_is_far_narrower_than_the_models_apart():
    truth, first = noisy(500, 4, 0.7)
    second = first.copy()
    second[:10] = (truth[:10] + 1) % 4
    found = paired_bootstrap(
        truth, first, second, labels=4, metric=accuracy, resamples=2000, confidence=0.95, chance=generator(1)
    )
    lost = (first[:10] == truth[:10]).sum() / 500
    assert found.value == pytest.approx(lost)
    assert 0 < found.low < found.value < found.high
    alone = interval(truth, first, 4)
    assert found.high - found.low < (alone.high - alone.low) / 2


def mean_interval(truth, runs, minus=(), metric=accuracy):
    return mean_bootstrap(
        truth, runs, minus=minus, labels=4, metric=metric, resamples=500, confidence=0.95, chance=generator(1)
    )


def test_the_mean_of_one_run_is_that_run():
    truth, predicted = noisy(200, 4, 0.6)
    assert mean_interval(truth, [predicted], metric=macro_f1) == interval(truth, predicted, 4, macro_f1, resamples=500)


def test_the_mean_of_several_runs_and_their_difference():
    truth, first = noisy(400, 4, 0.6)
    second, third = noisy(400, 4, 0.8)[1], noisy(400, 4, 0.7)[1]
    found = mean_interval(truth, [first, second])
    assert found.value == pytest.approx((np.mean(truth == first) + np.mean(truth == second)) / 2)
    assert found.low < found.value < found.high
    less = mean_interval(truth, [first, second], minus=[third])
    assert less.value == pytest.approx(found.value - np.mean(truth == third))
    same = mean_interval(truth, [first], minus=[first])
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)
