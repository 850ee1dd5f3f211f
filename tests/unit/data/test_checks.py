from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from finetide.data import checks
from finetide.data.checks import Check
from finetide.data.text import contents
from support.rows import table


def rows(*entries: dict[str, Any]) -> pd.DataFrame:
    made = table({"text": f"text {at}", **entry} for at, entry in enumerate(entries))
    found = contents(made["text"])
    return made.assign(content=[-1 if one == found.empty else one for one in found.of_row])


def texts(*words: str) -> pd.DataFrame:
    return rows(*({"text": word} for word in words))


def labels(*words: str | None, role: str = "reference") -> pd.DataFrame:
    return rows(*({"label": word, "role": role} for word in words))


def test_empty_and_blank_texts_are_critical() -> None:
    check = checks.empty_texts(texts("hi", "", " \t\n", "\u00a0"))
    assert (check.severity, check.row_ids) == ("critical", ("a.csv:3", "a.csv:4", "a.csv:5"))
    assert check.message == "3 rows have no text, or nothing but white space"
    assert checks.empty_texts(texts("hi")).passed


def test_reference_rows_without_a_label_are_critical_in_a_first_window_only() -> None:
    table = pd.concat([labels("a", None), labels(None, role="incoming")], ignore_index=True)
    check = checks.missing_labels(table, first_window=True)
    assert (check.severity, check.row_ids) == ("critical", ("a.csv:3",))
    assert check.message == "1 row has no label, and the role reference"
    later = checks.missing_labels(table, first_window=False)
    assert (later.severity, later.passed, later.row_ids) == ("info", False, ("a.csv:3",))
    assert "came unlabelled with an earlier window" in later.message
    assert checks.missing_labels(labels("a"), first_window=True).passed


def test_unlabelled_incoming_rows_are_told() -> None:
    check = checks.unlabelled_incoming(labels("a", None, role="incoming"))
    assert (check.severity, check.row_ids) == ("info", ("a.csv:3",))
    assert check.message == "1 of 2 incoming rows have no label and are not trained on"
    assert checks.unlabelled_incoming(labels(None)).passed


def test_the_label_set_is_the_given_one_or_that_of_the_reference_rows() -> None:
    table = pd.concat([labels("b", "a", None), labels("new", role="incoming")], ignore_index=True)
    assert checks.label_set(table, None) == ("a", "b")
    assert checks.label_set(table, ["z", "b", "z"]) == ("b", "z")


def test_unknown_labels_are_critical_with_the_label_that_was_meant() -> None:
    check = checks.unknown_labels(labels("refund", "refnud", "refnud", "poetry", None), ["login", "refund"], given=True)
    assert (check.severity, check.row_ids) == ("critical", ("a.csv:3", "a.csv:4", "a.csv:5"))
    assert check.message == (
        "3 rows have a label that validate.labels does not have: 'poetry' (1), 'refnud' (2, did you mean 'refund'?)"
    )
    assert "add it to validate.labels in params.yaml" in check.fix
    new = checks.unknown_labels(labels("x", role="incoming"), ["login"], given=False)
    assert "1 row has a label that no reference row has: 'x' (1)" in new.message
    assert "list all labels in validate.labels in params.yaml" in new.fix
    assert checks.unknown_labels(labels("login", None), ["login"], given=True).passed


def test_long_lists_of_labels_are_cut() -> None:
    check = checks.unknown_labels(labels(*(f"new-{at:02d}" for at in range(13))), ["x"], given=True)
    assert check.message.endswith("'new-09' (1) and 3 more")


def test_labels_that_differ_by_case_or_punctuation_only_are_a_warning() -> None:
    check = checks.alike_labels(labels("Log in", "log-in", "refund", "!", "?"))
    assert (check.severity, check.row_ids) == ("warning", ("a.csv:2", "a.csv:3"))
    assert "'Log in' and 'log-in'" in check.message
    assert checks.alike_labels(labels("a", "b", "!", "?", None)).passed


def test_one_text_with_two_labels_is_critical_on_all_its_rows() -> None:
    check = checks.label_conflicts(
        rows(
            {"text": "Where is it", "label": "a"},
            {"text": "other", "label": "a"},
            {"text": "where  is it", "label": "b"},
            {"text": "where is it", "label": None},
            {"text": "other", "label": "a"},
            {"text": "", "label": "a"},
            {"text": "", "label": "b"},
        )
    )
    assert (check.severity, check.row_ids) == ("critical", ("a.csv:2", "a.csv:4"))
    assert check.message == (
        "2 rows have a text that has another label elsewhere (1 texts), e.g. a.csv:2 'a', a.csv:4 'b'"
    )
    assert checks.label_conflicts(labels("a", "b", None)).passed


def test_short_texts_are_a_warning_and_empty_ones_are_not_short() -> None:
    check = checks.short_texts(texts("ok", " ok ", "yes", ""), 3)
    assert (check.severity, check.row_ids) == ("warning", ("a.csv:2", "a.csv:3"))
    assert check.message == "2 rows have fewer than 3 characters (validate.min_text_length)"
    assert checks.short_texts(texts("yes"), 3).passed


def test_duplicates_name_the_newer_rows() -> None:
    check = checks.duplicates(texts("Hi there", "you", "hi  THERE", "", "", "hi there"))
    assert (check.severity, check.row_ids) == ("warning", ("a.csv:4", "a.csv:7"))
    assert "e.g. a.csv:4 that of a.csv:2" in check.message
    assert checks.duplicates(texts("a", "b", "", "")).passed


def test_near_duplicates_name_the_newer_rows_and_leave_exact_ones_out() -> None:
    first = "my parcel has not arrived yet, can you tell me where it is"
    check = checks.near_duplicates(texts(first, first, "nothing like it", first.replace(" me ", " us "), ""), 0.8)
    assert (check.severity, check.row_ids) == ("warning", ("a.csv:5",))
    assert "1 rows have a text that shares 80% or more of its 5-grams" in check.message
    assert "e.g. a.csv:5 is 8" in check.message
    assert check.message.endswith("% like a.csv:2")
    assert checks.near_duplicates(texts(first, first), 0.8).passed


def test_labels_with_too_few_rows_are_critical_even_with_none() -> None:
    check = checks.rare_labels(labels(*["refund"] * 3, "refnud", None), ["login", "refnud", "refund"], 3)
    assert (check.severity, check.row_ids) == ("critical", ("a.csv:5",))
    assert check.message == (
        "labels with fewer than 3 rows (validate.min_rows_per_label): 'login' (0), 'refnud' (1, did you mean 'refund'?)"
    )
    assert checks.rare_labels(labels("a", "b"), ["a", "b"], 1).passed


@pytest.mark.parametrize(("allowed", "said"), [(["a"], "here is 1"), ([], "here are 0")])
def test_fewer_than_two_labels_are_critical(allowed: list[str], said: str) -> None:
    check = checks.rare_labels(labels("a", "a"), allowed, 1)
    assert (check.severity, check.message) == ("critical", f"a classifier needs two labels; {said}")


def test_very_uneven_labels_are_told() -> None:
    check = checks.uneven_labels(labels(*["a"] * 10, "b"))
    assert (check.severity, check.message) == ("info", "'a' has 10 rows, 'b' has 1")
    assert check.row_ids == ("a.csv:12",)
    assert checks.uneven_labels(labels(*["a"] * 9, "b")).passed
    assert checks.uneven_labels(labels("a", None)).passed


def test_texts_longer_than_the_model_reads_are_told() -> None:
    table = texts("a", "b", "c")
    check = checks.long_texts(table, pd.Series([8, 9, 30], index=table.index), 8)
    assert (check.severity, check.row_ids) == ("info", ("a.csv:3", "a.csv:4"))
    assert "2 rows have more than 8 tokens (train.max_length), up to 30" in check.message
    assert checks.long_texts(table, pd.Series([8, 8, 8], index=table.index), 8).detail.startswith(
        "the longest text has 8"
    )


def test_no_row_at_all_is_critical() -> None:
    assert checks.any_rows(texts()).message == "no row is left to work with"
    assert checks.any_rows(texts("a")).passed


def test_every_check_survives_a_table_without_rows() -> None:
    empty = texts("x").iloc[:0]
    for check in (
        checks.empty_texts(empty),
        checks.missing_labels(empty, first_window=True),
        checks.unlabelled_incoming(empty),
        checks.unknown_labels(empty, [], given=True),
        checks.alike_labels(empty),
        checks.label_conflicts(empty),
        checks.short_texts(empty, 3),
        checks.duplicates(empty),
        checks.near_duplicates(empty, 0.8),
        checks.uneven_labels(empty),
        checks.long_texts(empty, pd.Series([], dtype="int64"), 8),
    ):
        assert check.passed, check.name
    assert checks.label_set(empty, None) == ()


def test_a_finding_shows_the_first_twenty_rows_with_file_line_and_value() -> None:
    table = rows(*({"text": f"text {at}", "label": "x"} for at in range(25)))
    every = tuple(table["row_id"])
    indexed = table.set_index("row_id", drop=False)
    made = checks.finding(Check("name", "warning", "", "said", "do", "text", every), indexed)
    assert (made.count, len(made.rows)) == (25, 20)
    assert made.rows[0].model_dump() == {
        "row_id": "a.csv:2",
        "file": "a.csv",
        "line": 2,
        "column": "text",
        "value": "text 0",
    }
    labelled = checks.finding(Check("name", "warning", "", "said", "do", "label", every[:1]), indexed)
    assert labelled.rows[0].value == "x · text 0"


def test_a_result_tells_what_was_seen_or_what_was_wrong() -> None:
    assert Check("name", "info", "all well").result().detail == "all well"
    result = Check("name", "info", "", "one bad").result()
    assert (result.passed, result.detail, result.source) == (False, "one bad", "finetide")
