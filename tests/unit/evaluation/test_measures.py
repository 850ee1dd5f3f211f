import numpy as np
import pytest

from finetide.evaluation.measures import (
    baseline_measures,
    classification_measures,
    extra_measures,
    role_masks,
    score_measures,
)

TRUTH, PREDICTED = np.array([0, 0, 1, 1] * 10), np.array([0, 1, 1, 1] * 10)


def measure(name: str = "model/all"):
    return classification_measures(TRUTH, PREDICTED, labels=2, resamples=200, confidence=0.9, seed=5, name=name)


def test_one_role_has_no_all():
    assert list(role_masks(["reference", "reference"])) == ["reference"]
    assert role_masks([]) == {}


def test_two_roles_are_told_apart_and_taken_together():
    masks = role_masks(["incoming", "reference", "incoming"])
    assert {role: mask.tolist() for role, mask in masks.items()} == {
        "reference": [False, True, False],
        "incoming": [True, False, True],
        "all": [True, True, True],
    }


def test_accuracy_and_macro_f1_come_with_intervals_and_rows():
    found = measure()
    assert set(found) == {"accuracy", "macro_f1"}
    for value in found.values():
        assert value.low is not None
        assert value.low < value.value < value.high
        assert value.rows == 40
    assert found["accuracy"].value == pytest.approx(0.75)


def test_each_named_measure_has_its_own_stream_of_chance():
    assert measure() == measure()
    assert measure("a")["accuracy"].low != measure("b")["accuracy"].low or measure("a") != measure("b")


def test_temperature_changes_the_calibrated_error_only():
    logits = np.where(np.arange(2) == PREDICTED[:, None], 5.0, 0.0)
    found = score_measures(TRUTH, logits, temperature=4.0, bins=10)
    raw = score_measures(TRUTH, logits, temperature=1.0, bins=10)
    assert found["ece"] == raw["ece"] == raw["ece_calibrated"]
    assert found["ece_calibrated"].value < found["ece"].value
    assert found["nll"].value < raw["nll"].value


def test_a_label_that_the_model_does_not_know_is_wrong_and_has_no_likelihood():
    logits = np.array([[3.0, 0.0], [3.0, 0.0]])
    found = score_measures(np.array([0, 2]), logits, temperature=1.0, bins=1)
    confidence = np.exp(3) / (np.exp(3) + 1)
    assert found["ece"].value == pytest.approx(abs(0.5 - confidence))
    assert found["nll"].rows == 1
    assert found["nll"].value == pytest.approx(-np.log(confidence))


def test_only_unknown_labels_leave_the_likelihood_out():
    assert "nll" not in score_measures(np.array([2]), np.zeros((1, 2)), temperature=1.0, bins=5)


def test_baselines_are_measured_by_role():
    masks = role_masks(["reference"] * 20 + ["incoming"] * 20)
    found = baseline_measures(
        TRUTH, {"majority": np.zeros(40, dtype=int)}, masks, labels=2, resamples=50, confidence=0.95, seed=1
    )
    assert set(found["majority"]) == {"reference", "incoming", "all"}
    assert found["majority"]["incoming"]["accuracy"].value == pytest.approx(0.5)
    assert found["majority"]["incoming"]["accuracy"].rows == 20


def test_balanced_accuracy_is_the_mean_recall() -> None:
    truth = np.array([0] * 8 + [1] * 2)
    logits = np.zeros((10, 2))
    logits[:, 0] = 1.0
    found = extra_measures(
        ("balanced_accuracy",), truth, logits, labels=2, resamples=50, confidence=0.9, seed=1, name="m"
    )  # fmt: skip
    assert found["balanced_accuracy"].value == 0.5
    assert set(found) == {"balanced_accuracy"}


def test_auroc_is_how_often_the_right_one_scores_higher() -> None:
    chance = np.random.default_rng(3)
    truth = chance.integers(0, 2, 300)
    scores = truth + chance.normal(0, 1.0, 300)
    logits = np.stack([np.zeros(300), scores], axis=1)
    wanted = np.mean(
        [(one > other) + 0.5 * (one == other) for one in scores[truth == 1] for other in scores[truth == 0]]
    )
    settings = {"labels": 2, "resamples": 200, "confidence": 0.95, "seed": 1, "name": "m"}
    found = extra_measures(("auroc",), truth, logits, **settings)["auroc"]
    assert found.value == pytest.approx(wanted)
    assert found.low is not None
    assert found.high is not None
    assert found.low < wanted < found.high
    ties = extra_measures(("auroc",), truth, np.zeros((300, 2)), **settings)["auroc"]
    assert ties.value == 0.5
    assert extra_measures(("auroc",), np.zeros(300, int), logits, **settings) == {}
    assert extra_measures((), truth, logits, **settings) == {}
