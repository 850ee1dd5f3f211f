from __future__ import annotations

import pytest

from finetide.data.text import nearest, normalise, shown


def test_texts_that_differ_by_case_and_white_space_are_the_same() -> None:
    assert normalise("  Where IS\tmy\n\nparcel ") == normalise("where is my parcel") == "where is my parcel"
    assert normalise("Straße") == normalise("STRASSE")
    assert normalise("parcel!") != normalise("parcel")


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, "(missing)"), (float("nan"), "(missing)"), ("", ""), ("two\nlines", "two lines"), (7, "7")],
)
def test_values_are_shown_on_one_line(value: object, expected: str) -> None:
    assert shown(value) == expected


def test_long_values_are_cut_at_80_characters() -> None:
    assert shown("x" * 80) == "x" * 80
    assert shown("x" * 81) == "x" * 79 + "…"


def test_the_nearest_name_is_the_one_that_was_meant() -> None:
    assert nearest("Intent", ["text", "intent"]) == "intent"
    assert nearest(" intent ", ["text", "Intent"]) == "Intent"
    assert nearest("refnud", ["refund", "login"]) == "refund"
    assert nearest("label", ["text", "domain"]) is None
    assert nearest("label", []) is None
    assert nearest("16.0", ["75", "16"]) == "16"
    assert nearest("16.5", ["75", "16"]) is None
