"""Split: every row once, what belongs together on one side, nothing moves when data is appended."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from itertools import combinations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetide.config.split import SplitParams
from finetide.contracts.rows import SPLITS
from finetide.data.leakage import check
from finetide.data.split import NEAR, assign, texts_of
from properties.rows import Rows, laid_out, windows
from properties.tables import mutant, quick

Splitter = Callable[[pd.DataFrame, int], pd.DataFrame]
Property = Callable[[Splitter, list[Rows], int], None]
PARAMS = SplitParams(validation_percent=25.0, test_percent=35.0)


def ours(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    return assign(rows, texts_of(rows), PARAMS, seed)


def words(text: str) -> str:
    return " ".join(text.casefold().split())


def grams(text: str) -> set[str]:
    padded = words(text).ljust(5, "\0")
    return {padded[at : at + 5] for at in range(len(padded) - 4)}


def check_each_row_is_placed_once(run: Splitter, files: list[Rows], seed: int) -> None:
    rows = laid_out(files)
    done = run(rows, seed)
    assert list(done["row_id"]) == list(rows["row_id"])
    assert done["split"].isin(SPLITS).all()
    pd.testing.assert_frame_equal(done.drop(columns="split"), rows.drop(columns="split"))


def check_growth_moves_no_row(run: Splitter, files: list[Rows], seed: int) -> None:
    whole = run(laid_out(files), seed)
    for count in range(1, len(files)):
        early = run(laid_out(files[:count]), seed)
        assert list(early["split"]) == list(whole["split"][: len(early)])


def check_copies_and_groups_are_on_one_side(run: Splitter, files: list[Rows], seed: int) -> None:
    done = run(laid_out(files), seed)
    free = done[done["group"].isna()]
    assert (free["split"].groupby([words(text) for text in free["text"]]).nunique() == 1).all()
    assert (done.dropna(subset="group").groupby("group")["split"].nunique() == 1).all()


def check_near_copies_are_parted_only_as_reported(run: Splitter, files: list[Rows], seed: int) -> None:
    """What the stage's own proof calls clean is clean by a comparison of all rows with all others."""
    rows = laid_out(files)
    done = run(rows, seed)
    found = check(done, list(rows["split"]), texts_of(rows))
    if any(finding.check == "near-duplicate texts on two sides" for finding in found.findings):
        assert not any(finding.severity == "critical" and "near" in finding.check for finding in found.findings)
        return
    sets = [grams(text) for text in done["text"]]
    for one, other in combinations(range(len(done)), 2):
        if done["split"].iloc[one] != done["split"].iloc[other]:
            assert len(sets[one] & sets[other]) < NEAR * len(sets[one] | sets[other])


def check_a_given_split_is_honoured(run: Splitter, files: list[Rows], seed: int) -> None:
    rows = laid_out(files)
    has = rows["split"].notna()
    assert list(run(rows, seed).loc[has, "split"]) == list(rows.loc[has, "split"])


SEEDS = st.integers(0, 50)
PROPERTIES: dict[str, tuple[Property, st.SearchStrategy[list[Rows]]]] = {
    "once": (check_each_row_is_placed_once, windows(given=True)),
    "growth": (check_growth_moves_no_row, windows()),
    "growth of given splits": (check_growth_moves_no_row, windows(given=True)),
    "copies and groups": (check_copies_and_groups_are_on_one_side, windows()),
    "near copies": (check_near_copies_are_parted_only_as_reported, windows(groups=False)),
    "given": (check_a_given_split_is_honoured, windows(given=True)),
}


@pytest.mark.parametrize("name", PROPERTIES)
def test_split_holds_on_any_window(name: str) -> None:
    holds, drawn = PROPERTIES[name]
    quick(30)(given(drawn, SEEDS)(lambda files, seed: holds(ours, files, seed)))()


def loses_the_last(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    return ours(rows, seed).iloc[:-1]


def by_place(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    """A shuffle-and-cut: the share of the whole decides."""
    return rows.assign(split=[SPLITS[3 * at // len(rows)] for at in range(len(rows))])


def by_raw_text(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    """By content, as it should be, but without what makes copies, near copies and groups one."""
    codes = [hashlib.sha256(f"{seed}{text}".encode()).digest()[0] % 3 for text in rows["text"]]
    return rows.assign(split=[SPLITS[code] for code in codes])


def by_the_last_sign(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Equal texts together, and hardly any two nearly equal ones."""
    return rows.assign(split=["test" if words(text).endswith(("!", "y")) else "train" for text in rows["text"]])


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("once", loses_the_last),
        ("growth", by_place),
        ("growth of given splits", by_place),
        ("copies and groups", by_raw_text),
        ("near copies", by_the_last_sign),
        ("given", by_raw_text),
    ],
)
def test_a_broken_splitter_is_caught(name: str, broken: Splitter) -> None:
    holds, drawn = PROPERTIES[name]
    with pytest.raises(AssertionError):
        mutant(200)(given(drawn, SEEDS)(lambda files, seed: holds(broken, files, seed)))()
