"""Validate: a verdict or an error of ours on whatever ingest took in, and no row lost or doubled on the way."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given

from finetide.config.validate import ValidateParams
from finetide.data.csv_text import csv_text
from finetide.data.page import render
from finetide.data.quality import Quality, assess
from finetide.data.suites import default_suite
from finetide.errors import FinetideError
from properties.tables import File, mutant, quick, sound_files
from properties.test_ingest import taken_in

Validate = Callable[[pd.DataFrame], Quality]
SUITE = default_suite("text-classification")
# Half of the rows may be bad: both roads, quarantine and failure, are taken.
PARAMS = ValidateParams(
    labels=None,
    min_rows_per_label=1,
    min_text_length=3,
    near_duplicate_similarity=0.8,
    max_quarantine_share=0.5,
)


def ours(rows: pd.DataFrame) -> Quality:
    return assess(
        rows,
        SUITE,
        PARAMS,
        count_tokens=lambda texts: [len(text.split()) for text in texts],
        max_length=16,
        first_window=True,
    )


def check_no_row_is_lost(run: Validate, file: File) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        rows = taken_in(Path(scratch), file, split=None, role="reference")
    try:
        found = run(rows)
    except FinetideError:
        return
    # As the stage writes it, and as any reader of CSV reads it.
    written = io.StringIO(csv_text(list(found.quarantine), found.quarantine.to_numpy(object)), newline="")
    quarantined = list(csv.DictReader(written))
    assert sorted([*found.clean["row_id"], *(row["row_id"] for row in quarantined)]) == sorted(rows["row_id"])
    assert (found.verdict.kept, found.verdict.quarantined) == (len(found.clean), len(quarantined))
    kept = rows[rows["row_id"].isin(found.clean["row_id"])]
    pd.testing.assert_frame_equal(kept.reset_index(drop=True), found.clean.reset_index(drop=True))
    text_of = dict(zip(rows["row_id"], rows["text"], strict=True))
    assert all(row["text"] == text_of[row["row_id"]] and row["reason"] for row in quarantined)
    assert render(found.verdict, "mail")


@quick(6)
@given(sound_files())
def test_clean_and_quarantined_rows_are_the_rows_that_came_in(file: File) -> None:
    check_no_row_is_lost(ours, file)


def test_a_validation_that_loses_a_row_is_caught() -> None:
    def broken(rows: pd.DataFrame) -> Quality:
        found = ours(rows)
        return Quality(found.verdict, found.clean.iloc[1:], found.quarantine)

    def holds(file: File) -> None:
        check_no_row_is_lost(broken, file)

    with pytest.raises(AssertionError):
        mutant(6)(given(sound_files())(holds))()
