import numpy as np
import pandas as pd
import pytest

from finetide.errors import ConfigError
from finetide.evaluation.baselines import (
    Frozen,
    Probe,
    majority,
    predict_all,
    probe,
    reference_probe,
    rows_needed,
    tf_idf,
    zero_shot,
)
from finetide.tasks.label_texts import label_texts

LABELS = ("refund", "track_order")


def clusters(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two labels, apart along the first of four features."""
    chance = np.random.default_rng(seed)
    truth = chance.integers(0, 2, rows)
    features = chance.normal(0, 0.3, (rows, 4)).astype(np.float32)
    features[:, 0] += np.where(truth == 0, -1, 1)
    return features, truth


def table(roles: tuple[str, ...] = ("reference", "incoming")) -> tuple[pd.DataFrame, np.ndarray]:
    features, truth = clusters(60)
    rows = pd.DataFrame(
        {
            "row_id": [f"r{i}" for i in range(60)],
            "role": [roles[i % len(roles)] for i in range(60)],
            "split": ["train"] * 30 + ["validation"] * 10 + ["test"] * 20,
            "label": [LABELS[i] for i in truth],
        }
    )
    return rows, features


def predictions(rows: pd.DataFrame, features: np.ndarray) -> dict[str, np.ndarray]:
    frozen = Frozen(tuple(rows["row_id"]), features, np.array([[-1.0, 0, 0, 0], [1.0, 0, 0, 0]]))
    trained = Probe(np.array([[-1.0, 0, 0, 0], [1.0, 0, 0, 0]]), np.zeros(2))
    test = rows[(rows["split"] == "test") & rows["label"].notna()]
    return predict_all(rows, test, frozen, trained, LABELS)


def test_majority_takes_the_most_frequent_label_and_the_first_of_equals():
    assert majority(np.array([0, 1, 1]), 2).tolist() == [1, 1]
    assert majority(np.array([1, 0]), 3).tolist() == [0, 0, 0]


def test_a_label_is_described_by_its_description_or_its_name():
    assert label_texts(("refund_due", "track-order"), {"track-order": "where is my parcel"}) == [
        "refund due",
        "where is my parcel",
    ]


def test_a_description_of_no_label_is_refused_with_the_nearest_one():
    with pytest.raises(ConfigError) as caught:
        label_texts(LABELS, {"refunds": "money back"})
    assert str(caught.value) == (
        "params.yaml: evaluate.label_descriptions.refunds: the model has no such label\n"
        "  fix: did you mean 'refund'? labels: refund, track_order"
    )


def test_a_description_of_nothing_like_a_label_is_refused_with_all_labels():
    with pytest.raises(ConfigError) as caught:
        label_texts(LABELS, {"xyz": "?"})
    assert str(caught.value).endswith("fix: labels: refund, track_order")


def test_zero_shot_goes_by_the_angle_and_not_by_the_length():
    features = np.array([[0.1, 0.01], [1.0, 20.0], [0.0, 0.0]])
    assert zero_shot(features, np.array([[9.0, 0.0], [0.0, 0.5]])).tolist() == [0, 1, 0]


def test_probe_is_linear():
    trained = Probe(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0.0, 2.0]))
    assert probe(np.array([[3.0, 0.0], [1.0, 0.0]]), trained).tolist() == [0, 1]


def test_reference_probe_learns_and_is_deterministic():
    features, truth = clusters(80)
    held, held_truth = clusters(40, seed=1)
    found = reference_probe((features, truth), (held, held_truth), held)
    assert (found == held_truth).mean() > 0.95
    assert (found == reference_probe((features, truth), (held, held_truth), held)).all()


def test_reference_probe_works_without_validation_rows():
    features, truth = clusters(80)
    nothing = (features[:0], truth[:0])
    assert (reference_probe((features, truth), nothing, features) == truth).mean() > 0.95


def test_reference_probe_of_one_label_says_that_label():
    features, _ = clusters(4)
    one = (features, np.ones(4, dtype=np.int64))
    assert reference_probe(one, one, features).tolist() == [1, 1, 1, 1]


def test_every_baseline_predicts_the_test_rows():
    rows, features = table()
    found = predictions(rows, features)
    truth = (rows["label"][rows["split"] == "test"] == "track_order").astype(int).to_numpy()
    assert list(found) == ["majority", "zero-shot", "probe", "probe-reference-only"]
    assert all(len(guess) == 20 for guess in found.values())
    for name in ("zero-shot", "probe", "probe-reference-only"):
        assert (found[name] == truth).mean() > 0.9
    assert (found["majority"] == truth).mean() < 0.9


def test_a_training_without_a_probe_has_no_such_baseline():
    rows, features = table(("reference",))
    frozen = Frozen(tuple(rows["row_id"]), features, np.eye(4)[:2])
    found = predict_all(rows, rows[rows["split"] == "test"], frozen, Probe(np.zeros((0, 4)), np.zeros(0)), LABELS)
    assert list(found) == ["majority", "zero-shot"]


def test_reference_only_probe_sees_no_incoming_row():
    rows, features = table()
    poisoned = features.copy()
    wrong = ((rows["role"] == "incoming") & (rows["split"] != "test")).to_numpy()
    poisoned[wrong] = 1e6
    assert (
        predictions(rows, poisoned)["probe-reference-only"] == predictions(rows, features)["probe-reference-only"]
    ).all()


def test_without_incoming_rows_there_is_no_reference_only_probe():
    rows, features = table(("reference",))
    assert list(predictions(rows, features)) == ["majority", "zero-shot", "probe"]


def test_without_labelled_reference_training_rows_there_is_no_reference_only_probe():
    rows, features = table()
    rows.loc[(rows["role"] == "reference") & (rows["split"] == "train"), "label"] = None
    assert list(predictions(rows, features)) == ["majority", "zero-shot", "probe"]


def test_features_are_needed_of_labelled_test_rows_and_for_the_reference_probe_only():
    rows, _ = table()
    rows.loc[59, "label"] = None
    needed = rows_needed(rows)
    assert "r59" not in set(needed["row_id"])
    assert set(needed["role"][needed["split"] != "test"]) == {"reference"}
    assert set(rows_needed(table(("reference",))[0])["split"]) == {"test"}


def test_tf_idf_learns_words_and_is_deterministic():
    texts = [f"{'parcel lost' if i % 2 else 'refund please'} number {i}" for i in range(40)]
    truth = np.arange(40) % 2
    found = tf_idf(texts, truth, ["my refund please", "the parcel is lost", ""])
    assert found is not None
    assert found.tolist()[:2] == [0, 1]
    assert (found == tf_idf(texts, truth, ["my refund please", "the parcel is lost", ""])).all()


def test_tf_idf_learns_pairs_of_words():
    texts = ["not good", "good not bad", "bad not good", "not bad"] * 10
    truth = np.array([0, 1, 0, 1] * 10)
    assert tf_idf(texts, truth, texts).tolist() == truth.tolist()


def test_tf_idf_at_the_edges():
    one = np.ones(3, dtype=np.int64)
    assert tf_idf(["a", "b", "c"], one, ["d", "e"]).tolist() == [1, 1]
    assert tf_idf(["…", "!", "?"], np.array([0, 1, 0]), ["a"]) is None
    assert tf_idf(["a", "b"], np.array([0, 1]), []).tolist() == []


def test_tf_idf_reads_no_text_but_that_of_training_rows():
    rows, features = table()
    rows["text"] = [f"word{label} {row}" for label, row in zip(rows["label"], rows["row_id"], strict=True)]
    before = predictions(rows, features)
    assert "tf-idf" in before
    held = rows["split"] == "validation"
    poisoned = rows.assign(label=rows["label"].where(~held, "refund"))
    assert (predictions(poisoned, features)["tf-idf"] == before["tf-idf"]).all()
