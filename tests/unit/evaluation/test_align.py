import numpy as np
import pytest

from finetide.errors import DataError
from finetide.evaluation.align import align, label_indices, with_unknown


def test_scores_follow_their_rows_whatever_their_order():
    values = np.array([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]])
    assert align(["c", "a"], ["a", "b", "c"], values)[:, 0].tolist() == [3.0, 1.0]


def test_no_wanted_row_gives_no_score():
    assert align([], ["a"], np.zeros((1, 4))).shape == (0, 4)


def test_a_row_without_a_score_is_refused():
    with pytest.raises(DataError) as caught:
        align(["a", "x", "y"], ["a"], np.zeros((1, 2)))
    assert str(caught.value) == "2 rows have no score (found 'x')\n  fix: run the stages again: dvc repro -f"


def test_a_row_id_that_occurs_twice_is_refused():
    with pytest.raises(DataError) as caught:
        align(["a"], ["a", "b", "b"], np.zeros((3, 2)))
    assert str(caught.value) == "row ids are not unique, so scores cannot be joined (found 'b')"


def test_scores_without_an_id_are_refused():
    with pytest.raises(DataError) as caught:
        align(["a"], ["a"], np.zeros((2, 2)))
    assert str(caught.value) == "scores and row ids differ in number (found '2 scores, 1 ids')"


def test_label_indices_follow_the_order_of_the_labels():
    assert label_indices(["b", "a", "b"], ["a", "b"]).tolist() == [1, 0, 1]


def test_a_label_that_is_not_scored_is_refused():
    with pytest.raises(DataError) as caught:
        label_indices(["a", "z"], ["a"])
    assert str(caught.value) == "a label is not among those that are scored (found 'z')"


def test_unknown_labels_come_after_those_of_the_model_sorted():
    assert with_unknown(("b", "a"), ["z", "a", "y"]) == ("b", "a", "y", "z")
