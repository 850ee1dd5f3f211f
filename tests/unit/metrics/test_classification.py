import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from finetide.metrics.classification import accuracy, confusion, count, f1, macro_f1, precision, recall

TRUTH = np.array([0, 0, 0, 1, 1, 2])
PREDICTED = np.array([0, 0, 1, 1, 0, 3])


def test_counts_by_hand():
    counts = count(TRUTH, PREDICTED, 4)
    assert counts.hits.tolist() == [2, 1, 0, 0]
    assert counts.support.tolist() == [3, 2, 1, 0]
    assert counts.predicted.tolist() == [3, 2, 0, 1]


def test_scores_by_hand():
    counts = count(TRUTH, PREDICTED, 4)
    assert accuracy(counts) == pytest.approx(3 / 6)
    assert precision(counts) == pytest.approx([2 / 3, 1 / 2, 0, 0])
    assert recall(counts) == pytest.approx([2 / 3, 1 / 2, 0, 0])
    assert f1(counts) == pytest.approx([2 / 3, 1 / 2, 0, 0])


def test_macro_f1_averages_over_the_labels_of_the_truth_only():
    # Label 3 is predicted and never true: it is not a fourth zero in the mean.
    assert macro_f1(count(TRUTH, PREDICTED, 4)) == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)


def test_confusion_has_the_truth_in_its_rows():
    assert confusion(TRUTH, PREDICTED, 4).tolist() == [[2, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]]


def test_no_rows_score_zero_without_a_warning():
    counts = count(np.array([], dtype=np.int64), np.array([], dtype=np.int64), 3)
    assert accuracy(counts) == 0
    assert macro_f1(counts) == 0


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_scikit_learn(seed):
    chance = np.random.default_rng(seed)
    truth, predicted = chance.integers(0, 7, 200), chance.integers(0, 7, 200)
    counts = count(truth, predicted, 7)
    assert accuracy(counts) == pytest.approx(sklearn_metrics.accuracy_score(truth, predicted))
    assert macro_f1(counts) == pytest.approx(sklearn_metrics.f1_score(truth, predicted, average="macro"))
    expected = sklearn_metrics.precision_recall_fscore_support(truth, predicted, zero_division=0)
    for ours, theirs in zip([precision(counts), recall(counts), f1(counts), counts.support], expected, strict=True):
        assert ours == pytest.approx(theirs)
    assert (confusion(truth, predicted, 7) == sklearn_metrics.confusion_matrix(truth, predicted)).all()
