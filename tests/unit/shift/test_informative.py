"""Which rows are asked for: unsure ones, like incoming ones, and no copies."""

from __future__ import annotations

import numpy as np
import pytest

from finetide.shift.informative import choose, uncertainty


def test_uncertainty_is_one_where_two_labels_are_as_likely() -> None:
    found = uncertainty(np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.6, 0.3, 0.1]]))
    assert found == pytest.approx([1.0, 0.0, 0.7])
    assert list(uncertainty(np.ones((2, 1)))) == [0.0, 0.0]


def test_the_most_valuable_comes_first_and_its_copies_last() -> None:
    x = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    assert choose(np.array([0.9, 0.9, 0.5, 0.4]), x, np.zeros((0, 2)), 4) == [0, 3, 2, 1]
    assert choose(np.array([0.9, 0.9, 0.5, 0.4]), x, np.zeros((0, 2)), 2) == [0, 3]


def test_what_lies_at_a_labelled_row_is_worth_little() -> None:
    x = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert choose(np.array([0.9, 0.2]), x, np.array([[2.0, 0.0]]), 1) == [1]


def test_it_covers_better_than_the_most_valuable_alone() -> None:
    """Five clusters; one of them is the least certain. Ten requests reach all of them."""
    rng = np.random.default_rng(0)
    cluster = np.repeat(np.arange(5), 40)
    x = np.eye(5)[cluster] + 0.05 * rng.normal(size=(200, 5))
    value = np.where(cluster == 0, 0.9, 0.5)
    assert set(cluster[choose(value, x, np.zeros((0, 5)), 10)]) == set(range(5))
    assert set(cluster[np.argsort(-value, kind="stable")[:10]]) == {0}


def test_all_rows_where_more_are_wanted() -> None:
    assert sorted(choose(np.ones(3), np.eye(3), np.zeros((0, 3)), 10)) == [0, 1, 2]
