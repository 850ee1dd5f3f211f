from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from finetide.engine import batches

LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=80)


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


@given(LENGTHS, st.integers(1, 400))
@settings(derandomize=True, deadline=None, max_examples=100, database=None)
def test_packed_runs_hold_every_row_once_within_the_budget(lengths: list[int], budget: int) -> None:
    found = np.array(lengths)
    runs = list(batches.cut(range(len(lengths)), found, budget, packed=True))
    assert [place for run in runs for place in run] == list(range(len(lengths)))
    assert all(len(run) == 1 or found[run].sum() <= budget for run in runs)


def test_padding_is_the_share_that_no_token_fills() -> None:
    lengths = np.array([2, 4, 4])
    assert batches.padding(lengths, [[0, 1], [2]]) == 1 - 10 / 12
    assert batches.padding(lengths, [[1, 2]]) == 0.0
