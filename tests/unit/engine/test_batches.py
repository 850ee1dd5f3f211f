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


def passages(count: int, each: int) -> tuple[np.ndarray, list[str]]:
    """Questions about passages: all of a passage are of about its length. Returns: lengths and groups."""
    rng = np.random.default_rng(3)
    lengths = np.repeat(rng.integers(40, 380, count), each) + rng.integers(5, 15, count * each)
    return lengths, [f"passage {number}" for number in np.repeat(np.arange(count), each)]


def test_rows_of_a_group_do_not_meet_in_a_batch() -> None:
    lengths, groups = passages(120, 6)

    def met(batches_: list[list[int]]) -> int:
        return sum(len(batch) - len({groups[row] for row in batch}) for batch in batches_)

    like = batches.epoch(lengths, 16, np.random.default_rng(1))
    apart = batches.epoch(lengths, 16, np.random.default_rng(1), groups=groups)
    assert sorted(row for batch in apart for row in batch) == list(range(720))
    assert len(apart) == len(like) == 45
    assert met(like) > 300  # what like length alone makes of it: the rule has something to do
    assert met(apart) < 25  # in the last batches of a pool, which take what is left
    assert batches.padding(lengths, apart) < 0.1  # and they are of like length still, by chance it would be 0.4
    assert batches.epoch(lengths, 16, np.random.default_rng(1), groups=groups) == apart
    assert batches.epoch(lengths, 16, np.random.default_rng(2), groups=groups) != apart


def test_a_group_larger_than_the_open_batches_still_comes_whole() -> None:
    lengths, groups = passages(2, 100)
    found = batches.epoch(lengths, 8, np.random.default_rng(1), groups=groups)
    assert sorted(row for batch in found for row in batch) == list(range(200))
    assert [len(batch) for batch in found].count(8) == 25


@given(LENGTHS, st.integers(1, 9), st.integers(1, 5))
@settings(derandomize=True, deadline=None, max_examples=100, database=None)
def test_groups_lose_no_row_and_add_no_batch(lengths: list[int], rows: int, group: int) -> None:
    groups = [place // group for place in range(len(lengths))]
    found = batches.epoch(np.array(lengths), rows, np.random.default_rng(0), groups=groups, pool=3)
    assert sorted(row for batch in found for row in batch) == list(range(len(lengths)))
    assert sorted(map(len, found)) == sorted(
        map(len, batches.epoch(np.array(lengths), rows, np.random.default_rng(0), pool=3))
    )


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
