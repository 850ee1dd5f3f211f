import numpy as np
import pytest
from scipy import optimize, special

from finetide.metrics.calibration import (
    HIGHEST_TEMPERATURE,
    LOWEST_TEMPERATURE,
    ece,
    fit_temperature,
    nll,
    reliability,
    softmax,
)


def overconfident(rows: int, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose softmax at T = factor is the true distribution of the labels."""
    chance = np.random.default_rng(3)
    honest = chance.normal(0, 2, (rows, 4))
    truth = np.array([chance.choice(4, p=special.softmax(row)) for row in honest])
    return honest * factor, truth


def test_softmax_survives_huge_logits():
    probabilities = softmax(np.array([[1e4, 0.0], [-1e4, -1e4]]))
    assert probabilities == pytest.approx(np.array([[1.0, 0.0], [0.5, 0.5]]))


def test_softmax_agrees_with_scipy_at_a_temperature():
    logits = np.random.default_rng(0).normal(0, 5, (20, 6))
    assert softmax(logits, 2.5) == pytest.approx(special.softmax(logits / 2.5, axis=1))


def test_nll_by_hand():
    logits = np.log(np.array([[0.7, 0.3], [0.2, 0.8]]))
    assert nll(logits, np.array([0, 0])) == pytest.approx(-(np.log(0.7) + np.log(0.2)) / 2)


def test_ece_by_hand():
    # Bins of width 0.5: three scores in (0.5, 1], mean 0.8, two right; one in (0, 0.5], 0.4, right.
    confidence, correct = np.array([0.9, 0.8, 0.7, 0.4]), np.array([1.0, 0.0, 1.0, 1.0])
    assert ece(confidence, correct, 2) == pytest.approx(3 / 4 * abs(2 / 3 - 0.8) + 1 / 4 * abs(1 - 0.4))


def test_the_edge_of_a_bin_belongs_to_the_bin_below_it():
    bars = reliability(np.array([0.0, 0.5, 1.0]), np.array([0.0, 1.0, 1.0]), 2)
    assert [bar.rows for bar in bars] == [2, 1]
    assert (bars[0].low, bars[0].high, bars[1].high) == (0.0, 0.5, 1.0)


def test_an_empty_bin_is_shown_with_no_rows():
    empty = reliability(np.array([0.95]), np.array([1.0]), 10)[3]
    assert (empty.rows, empty.confidence, empty.accuracy) == (0, 0.0, 0.0)


def test_perfect_calibration_has_no_error():
    assert ece(np.array([0.75] * 4), np.array([1.0, 1.0, 1.0, 0.0]), 10) == pytest.approx(0.0)


def test_no_rows_have_no_calibration_error():
    assert ece(np.array([]), np.array([]), 10) == 0.0


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_temperature_undoes_a_known_distortion(factor):
    assert fit_temperature(*overconfident(4000, factor)) == pytest.approx(factor, rel=0.1)


def test_temperature_is_the_minimum_that_scipy_finds():
    logits, truth = overconfident(300, 2.0)
    found = optimize.minimize_scalar(lambda t: nll(logits, truth, t), bounds=(0.05, 20), method="bounded").x
    assert fit_temperature(logits, truth) == pytest.approx(found, rel=1e-3)


def test_temperature_lowers_the_error_of_overconfident_scores():
    logits, truth = overconfident(2000, 4.0)
    fitted = fit_temperature(logits, truth)

    def error(temperature):
        scores = softmax(logits, temperature)
        return ece(scores.max(axis=1), (scores.argmax(axis=1) == truth).astype(float), 10)

    assert error(fitted) < error(1.0) / 3


def test_temperature_stays_one_where_every_row_is_right():
    assert fit_temperature(np.eye(3) * 5, np.arange(3)) == 1.0


def test_temperature_stays_one_without_rows():
    assert fit_temperature(np.zeros((0, 3)), np.array([], dtype=np.int64)) == 1.0


def test_temperature_stays_within_its_bounds():
    always_wrong = np.eye(3) * 5
    assert fit_temperature(always_wrong, np.array([1, 2, 0])) == pytest.approx(HIGHEST_TEMPERATURE)
    barely_told_apart = np.tile([1e-4, 0.0], (1000, 1))
    assert fit_temperature(barely_told_apart, np.array([0] * 999 + [1])) == pytest.approx(LOWEST_TEMPERATURE)
