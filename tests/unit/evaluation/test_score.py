import numpy as np
import pandas as pd
import pytest

from finetide.config.evaluate import EvaluateParams
from finetide.evaluation.detail import MISTAKES
from finetide.evaluation.score import prediction_table, score

PARAMS = EvaluateParams(bootstrap=100, confidence=0.95, calibration_bins=5, label_descriptions={})
LABELS = ("a", "b", "c")


def rows(labels: list[str], roles: list[str]) -> pd.DataFrame:
    ids = [f"f.csv:{i + 2}" for i in range(len(labels))]
    return pd.DataFrame({"row_id": ids, "role": roles, "label": labels, "text": [f"text {i}" for i in ids]})


def logits(predicted: str, strength: float = 3.0) -> np.ndarray:
    return np.array([[strength * (label == said) for label in LABELS] for said in predicted])


def scored(test: pd.DataFrame, values: np.ndarray, temperature: float = 1.0):
    guesses = {"majority": np.zeros(len(test), dtype=np.int64)}
    return score(test, values, temperature=temperature, labels=LABELS, guesses=guesses, params=PARAMS, seed=1)


def test_roles_are_scored_apart_and_together():
    metrics, evaluation = scored(rows(list("aabb"), ["reference"] * 2 + ["incoming"] * 2), logits("aaba"))
    assert {role: found["accuracy"].value for role, found in metrics.roles.items()} == {
        "reference": 1.0,
        "incoming": 0.5,
        "all": 0.75,
    }
    assert metrics.baselines["majority"]["incoming"]["accuracy"].value == 0.0
    assert set(metrics.roles["all"]) == {"accuracy", "macro_f1", "ece", "ece_calibrated", "nll"}
    assert evaluation.confusion["incoming"] == ((0, 0, 0), (1, 1, 0), (0, 0, 0))


def test_without_incoming_rows_there_is_one_role():
    metrics, evaluation = scored(rows(list("ab"), ["reference"] * 2), logits("ab"))
    assert list(metrics.roles) == list(evaluation.per_label) == list(evaluation.reliability) == ["reference"]


def test_no_test_row_at_all_gives_empty_metrics():
    metrics, evaluation = scored(rows([], []), np.zeros((0, 3)))
    assert metrics.roles == {}
    assert metrics.baselines == {"majority": {}}
    assert evaluation.mistakes == ()
    assert evaluation.labels == LABELS


def test_a_label_missing_from_the_test_rows_is_left_out_of_macro_f1_and_of_the_report():
    metrics, evaluation = scored(rows(list("ab"), ["reference"] * 2), logits("ab"))
    assert metrics.roles["reference"]["macro_f1"].value == 1.0
    assert set(evaluation.per_label["reference"]) == {"a", "b"}


def test_a_predicted_label_without_true_rows_is_reported_with_none():
    _, evaluation = scored(rows(["a"], ["reference"]), logits("c"))
    report = evaluation.per_label["reference"]["c"]
    assert (report.rows, report.precision, report.recall) == (0, 0.0, 0.0)


def test_a_label_that_the_model_does_not_know_is_wrong_and_shown():
    metrics, evaluation = scored(rows(["a", "new"], ["reference"] * 2), logits("ab"))
    assert metrics.roles["reference"]["accuracy"].value == 0.5
    assert evaluation.labels == ("a", "b", "c", "new")
    assert evaluation.confusion["reference"][3] == (0, 1, 0, 0)
    assert evaluation.mistakes[0].label == "new"


def test_mistakes_are_the_most_confident_wrong_ones_first():
    values = np.vstack([logits("b", 1.0), logits("b", 4.0), logits("a", 9.0)])
    _, evaluation = scored(rows(["a", "a", "a"], ["reference"] * 3), values)
    assert [mistake.row_id for mistake in evaluation.mistakes] == ["f.csv:3", "f.csv:2"]
    assert evaluation.mistakes[0].predicted == "b"
    assert evaluation.mistakes[0].score == pytest.approx(np.exp(4) / (np.exp(4) + 2))


def test_mistakes_are_limited_and_equal_ones_are_in_the_order_of_their_ids():
    _, evaluation = scored(rows(["a"] * 40, ["reference"] * 40), logits("b" * 40))
    ids = [mistake.row_id for mistake in evaluation.mistakes]
    assert len(ids) == MISTAKES
    assert ids == sorted(ids)


def test_reliability_counts_every_row_once():
    _, evaluation = scored(rows(list("abc"), ["reference"] * 3), logits("abb"), temperature=2.0)
    assert sum(bar.rows for bar in evaluation.reliability["reference"]) == 3
    assert evaluation.temperature == 2.0


def test_equal_inputs_give_equal_files(tmp_path):
    for name in ("one", "two"):
        metrics, evaluation = scored(rows(list("abca"), ["reference"] * 4), logits("abba"), 1.5)
        metrics.write(tmp_path / f"{name}.m")
        evaluation.write(tmp_path / f"{name}.e")
    assert (tmp_path / "one.m").read_bytes() == (tmp_path / "two.m").read_bytes()
    assert (tmp_path / "one.e").read_bytes() == (tmp_path / "two.e").read_bytes()


def test_prediction_table_keeps_unlabelled_rows_with_a_null():
    held = rows(["a", "b"], ["reference", "incoming"]).assign(split=["validation", "test"])
    held["label"] = ["a", np.nan]
    found = prediction_table(held, logits("ab"), temperature=3.0, labels=LABELS)
    assert found["label"].isna().tolist() == [False, True]
    assert found["predicted"].tolist() == ["a", "b"]
    assert (found["calibrated"] < found["score"]).all()
