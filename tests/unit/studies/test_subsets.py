"""Subsets of the training labels: nested, stratified, chosen by content."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetide.errors import InputError
from finetide.studies.subsets import parse_shares, subset


def table(labels: list[str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "row_id": [f"a.csv:{place}" for place in range(len(labels))],
            "role": "reference", "file": "a.csv", "line": range(len(labels)), "label": labels, "split": "train",
            "group": None, "text": [f"text {place}" for place in range(len(labels))],
        }
    )  # fmt: skip


LABELS = st.lists(st.sampled_from("abc"), min_size=4, max_size=80)
SHARES = st.floats(0.25, 1.0)


@given(LABELS, SHARES, SHARES, st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_a_smaller_share_lies_inside_a_larger_one(labels: list[str], one: float, other: float, seed: int) -> None:
    rows = table(labels)
    less, more = (subset(rows, share, seed) for share in sorted((one, other)))
    assert set(less["row_id"]) <= set(more["row_id"])


@given(LABELS, SHARES, st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_each_label_has_its_share_and_at_least_one_row(labels: list[str], share: float, seed: int) -> None:
    found = subset(table(labels), share, seed)["label"].value_counts()
    for label, count in pd.Series(labels).value_counts().items():
        assert found[label] == max(1, int(share * count + 0.5))


def test_all_rows_are_all_rows_in_their_order() -> None:
    rows = table(list("abcabcaab"))
    pd.testing.assert_frame_equal(subset(rows, 1.0, 3), rows)


def test_content_chooses_not_place() -> None:
    rows = table(list("ab") * 40)
    turned = rows.iloc[::-1].reset_index(drop=True)
    assert set(subset(turned, 0.2, 1)["text"]) == set(subset(rows, 0.2, 1)["text"])
    assert set(subset(rows, 0.2, 2)["text"]) != set(subset(rows, 0.2, 1)["text"])


def test_rows_of_the_same_content_are_told_apart_by_their_id() -> None:
    rows = table(["a"] * 8).assign(text="same")
    assert len(subset(rows, 0.5, 1)) == 4


def test_a_share_that_leaves_no_row() -> None:
    with pytest.raises(InputError, match=r"leaves no row: there are 8 labelled training rows") as caught:
        subset(table(list("aabbaabb")), 0.1, 1)
    assert caught.value.fix == "at least 0.12"


def test_shares_are_sorted_and_each_once() -> None:
    assert parse_shares("1, 0.1,0.1") == (0.1, 1.0)


@pytest.mark.parametrize("text", ["0", "1.5", "5%", "-0.1", "nan", ""])
def test_no_shares(text: str) -> None:
    with pytest.raises(InputError, match=r"--shares: a share of the training labels is above 0 and at most 1"):
        parse_shares(text)


def test_what_has_a_digest_is_chosen_by_it_alone() -> None:
    """Not by what else a table holds: where the content lies, or an object whose words are its address."""
    rows = table(["a", "b"] * 20).drop(columns="text")
    rows["digest"] = [f"{place:064x}" for place in range(len(rows))]
    found = [
        list(subset(rows.assign(start=range(first, first + 40), bytes=[object() for _ in range(40)]), 0.5, 3)["row_id"])
        for first in (0, 100)
    ]
    assert found[0] == found[1] == list(subset(rows, 0.5, 3)["row_id"])
