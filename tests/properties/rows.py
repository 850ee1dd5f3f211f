"""Tables of rows in which copies, near copies, groups and given splits abound, file after file."""

from __future__ import annotations

from typing import Any

import pandas as pd
from hypothesis import strategies as st

from properties.tables import texts
from support.rows import table

Rows = list[dict[str, Any]]
WORDS = (
    "where is my parcel, it was to come on friday",
    "Where is  my parcel, it was to come on FRIDAY",
    "i forgot my password and cannot sign in",
    "\u6211\u7684\u5305\u88f9\u5728\u54ea\u91cc",
    "ok",
)
TAILS = ("", "!", " today", " please", " and nothing else helps at all here", "\n")


def row_texts() -> st.SearchStrategy[str]:
    near = st.builds(lambda start, end: f"{start}{end}", st.sampled_from(WORDS), st.sampled_from(TAILS))
    return st.one_of(near, near, texts(plain=True))


@st.composite
def windows(draw: st.DrawFn, *, given: bool = False, groups: bool = True) -> list[Rows]:
    """Rows by file; a later file is a growth of the table by appended rows.

    Args: given: rows may come with a split; the first file then gives all three sides, as a file that is the first to
    give one changes by rule where rows without one go.
    """
    row = st.fixed_dictionaries(
        {
            "text": row_texts(),
            "label": st.sampled_from(["a", "b", "\u00e9", None]),
            "group": st.sampled_from([None, None, "g1", "g2"]) if groups else st.none(),
            "split": st.sampled_from([None, "train", "validation", "test"]) if given else st.none(),
        }
    )
    made = draw(st.lists(st.lists(row, min_size=1, max_size=10), min_size=1, max_size=4))
    if given:
        made[0] += [{"text": f"given {side}", "label": "a", "split": side} for side in ("train", "validation", "test")]
    return made


def laid_out(files: list[Rows]) -> pd.DataFrame:
    return table({**row, "file": f"{at}.csv"} for at, file in enumerate(files) for row in file)
