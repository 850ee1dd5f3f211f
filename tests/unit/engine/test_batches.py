from __future__ import annotations

import numpy as np

from finetide.engine import batches


def test_every_row_comes_once_and_the_budget_holds() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 60, 500)
    found = list(batches.by_length(lengths, 128))
    assert sorted(place for batch in found for place in batch) == list(range(500))
    for batch in found:
        assert len(batch) == 1 or len(batch) * lengths[batch].max() <= 128


def test_a_row_longer_than_the_budget_goes_alone() -> None:
    assert list(batches.cut([0, 1, 2], np.array([500, 3, 3]), 100)) == [[0], [1, 2]]


def test_an_epoch_has_every_row_once_in_an_order_of_its_own() -> None:
    lengths = np.random.default_rng(0).integers(1, 60, 1003)
    first = batches.epoch(lengths, 32, np.random.default_rng(1))
    second = batches.epoch(lengths, 32, np.random.default_rng(2))
    assert sorted(place for batch in first for place in batch) == list(range(1003))
    assert first != second
    assert len(first) == 32
    padded = sum(len(batch) * int(lengths[batch].max()) for batch in first)
    assert padded < 1.15 * lengths.sum()
