from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from finetide.config.ingest import ColumnParams
from finetide.config.validate import ValidateParams
from finetide.contracts.quality import Finding
from finetide.data.quality import QUARANTINE_COLUMNS, Quality, assess
from finetide.data.readers import read_table
from finetide.data.suites import default_suite
from finetide.data.table import COLUMNS
from finetide.files import canonical_json
from support.rows import table
from support.shared import shared_data

SUITE = default_suite("text-classification")
PARAMS = ValidateParams(
    labels=None,
    min_rows_per_label=2,
    min_text_length=3,
    near_duplicate_similarity=0.8,
    max_quarantine_share=0.05,
)


def words(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def run(rows: pd.DataFrame, suite: dict[str, Any] = SUITE, *, first_window: bool = True, **changed: Any) -> Quality:
    return assess(
        rows,
        suite,
        PARAMS.model_copy(update=changed),
        count_tokens=words,
        max_length=12,
        first_window=first_window,
    )


def good(count: int = 60) -> list[dict[str, Any]]:
    return [
        {"text": f"{word}{at} {word * 3} {at * 7919}", "label": "ab"[at % 2]}
        for at, word in zip(range(count), ["parcel", "refund", "login", "seat"] * count, strict=False)
    ]


def named(quality: Quality) -> dict[str, Finding]:
    return {finding.check: finding for finding in quality.verdict.findings}


def test_good_rows_pass_and_all_stay() -> None:
    quality = run(table(good()))
    assert (quality.verdict.verdict, quality.verdict.reason) == ("pass", "No critical finding, no warning.")
    assert (quality.verdict.rows, quality.verdict.kept, quality.verdict.quarantined) == (60, 60, 0)
    assert quality.verdict.labels == ("a", "b")
    assert quality.verdict.counts == {"reference": {"a": 30, "b": 30}}
    assert all(check.passed for check in quality.verdict.checks)
    assert {check.source for check in quality.verdict.checks} == {"finetide", "great-expectations"}
    assert tuple(quality.clean.columns) == COLUMNS
    assert tuple(quality.quarantine.columns) == QUARANTINE_COLUMNS
    assert quality.quarantine.empty


def test_a_few_bad_rows_go_to_quarantine_and_the_rest_passes() -> None:
    rows = table([{"text": "  ", "label": "a"}, *good(), {"text": "what, now", "label": "c", "role": "incoming"}])
    quality = run(rows)
    assert quality.verdict.verdict == "pass"
    assert (quality.verdict.rows, quality.verdict.kept, quality.verdict.quarantined) == (62, 60, 2)
    assert quality.quarantine.to_dict("records") == [
        {"row_id": "a.csv:2", "file": "a.csv", "line": 2, "reason": "empty text", "text": "  ", "label": "a"},
        {"row_id": "a.csv:63", "file": "a.csv", "line": 63, "reason": "label set", "text": "what, now", "label": "c"},
    ]
    findings = named(quality)
    assert {findings[name].severity for name in ("empty text", "label set")} == {"warning"}
    assert quality.verdict.reason == "No critical finding; 2 warnings: empty text; label set."
    assert findings["empty text"].message == "1 row has no text, or nothing but white space; quarantined"
    assert set(quality.clean["row_id"]) == set(rows["row_id"]) - {"a.csv:2", "a.csv:63"}
    assert {check.check: check.severity for check in quality.verdict.checks}["label set"] == "warning"


@pytest.mark.parametrize("rows_of_it", [1, 2])
def test_a_person_is_asked_about_as_many_rows_of_a_new_label_as_a_label_needs(rows_of_it: int) -> None:
    said = ["the door is stuck", "a window is broken"][:rows_of_it]
    rows = table([*good(), *({"text": text, "label": "repair", "role": "incoming"} for text in said)])
    quality = run(rows)
    assert quality.quarantine["reason"].tolist() == ["label set"] * rows_of_it
    assert named(quality)["label set"].severity == "warning"
    if rows_of_it == 1:
        assert quality.verdict.verdict == "pass"
        return
    assert (quality.verdict.verdict, quality.verdict.reason) == (
        "fail",
        "1 critical finding: quarantine.",
    )
    found = named(quality)["quarantine"]
    assert found.message == (
        "2 rows are in quarantine, and of a label that is not known there are as many as a label needs "
        "(validate.min_rows_per_label 2): 'repair' (2)"
    )
    assert found.fix == (
        'if it is a new label, params.yaml\'s validate.labels is to list all: ["a", "b", "repair"]; if the rows are to '
        "be left out, approve this"
    )
    assert run(rows, labels=["a", "b", "repair"]).verdict.verdict == "pass"


def test_too_many_bad_rows_fail_and_nothing_is_taken_out() -> None:
    rows = table([*good(), *({"text": f" {' ' * at}", "label": "a"} for at in range(4))])
    quality = run(rows)
    assert (quality.verdict.verdict, quality.verdict.reason) == (
        "fail",
        "2 critical findings: empty text; quarantine.",
    )
    assert (quality.verdict.kept, quality.verdict.quarantined, len(quality.clean)) == (64, 0, 64)
    assert quality.quarantine.empty
    assert named(quality)["quarantine"].message == (
        "4 of 64 rows (6.2%) are bad; validate.max_quarantine_share is 5.0%, so none was quarantined"
    )
    assert "quarantined" not in named(quality)["empty text"].message


def test_exactly_the_allowed_share_is_quarantined_and_none_at_zero() -> None:
    rows = table([*good(57), *({"text": " ", "label": "a"} for _ in range(3))])
    assert run(rows).verdict.quarantined == 3
    assert run(rows, max_quarantine_share=0.0).verdict.verdict == "fail"


def test_a_row_with_two_faults_counts_once_and_says_both() -> None:
    quality = run(table([*good(), {"text": "", "label": None}]))
    assert quality.quarantine["reason"].tolist() == ["empty text; missing label"]


def test_conflicting_labels_are_quarantined_together() -> None:
    rows = table([*good(), {"text": "same words", "label": "a"}, {"text": "Same  words", "label": "b"}])
    quality = run(rows)
    assert quality.quarantine["reason"].tolist() == ["conflicting labels"] * 2
    assert quality.verdict.verdict == "pass"


def test_a_label_that_does_not_count_makes_no_conflict() -> None:
    rows = table(
        [*good(), {"text": "same words", "label": "a"}, {"text": "same words", "label": "zz", "role": "incoming"}]
    )
    assert run(rows).quarantine["reason"].tolist() == ["label set"]


def test_critical_row_expectations_send_rows_to_quarantine_too() -> None:
    suite = {
        "name": "mine",
        "expectations": [
            {
                "type": "expect_column_values_to_not_match_regex",
                "kwargs": {"column": "text", "regex": r"\d{16}"},
                "severity": "critical",
                "meta": {"notes": "a card number"},
            }
        ],
    }
    rows = table([*good(), {"text": "my card is 1234567812345678", "label": "a"}])
    quality = run(rows, suite)
    assert quality.verdict.verdict == "pass"
    assert quality.quarantine["reason"].tolist() == ["expect_column_values_to_not_match_regex(text)"]
    finding = named(quality)["expect_column_values_to_not_match_regex(text)"]
    assert finding.message.startswith("a card number: 1 of 61 rows are not as expected")
    assert (finding.severity, finding.rows[0].value) == ("warning", "my card is 1234567812345678")
    assert run(rows, suite, max_quarantine_share=0.0).verdict.verdict == "fail"


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 99}}, "observed: 60; min_value=99"),
        ({"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "txt"}}, "could not be run"),
    ],
)
def test_critical_table_expectations_fail_whatever_the_share(entry: dict[str, Any], said: str) -> None:
    suite = {"name": "mine", "expectations": [{**entry, "severity": "critical"}]}
    quality = run(table(good()), suite, max_quarantine_share=1.0)
    assert quality.verdict.verdict == "fail"
    assert said in quality.verdict.findings[0].message
    assert quality.verdict.quarantined == 0


def test_the_suite_sees_text_length_and_text_tokens() -> None:
    suite = {
        "name": "mine",
        "expectations": [
            {
                "type": "expect_column_max_to_be_between",
                "kwargs": {"column": column, "max_value": most},
                "severity": "warning",
            }
            for column, most in (("text_length", 11), ("text_tokens", 2))
        ],
    }
    by_length = run(table([*good(), {"text": "x" * 300, "label": "a"}, {"text": "a " * 20, "label": "b"}]), suite)
    said = [finding.message for finding in by_length.verdict.findings if finding.check.startswith("expect")]
    assert said == ["observed: 300; max_value=11.0", "observed: 20; max_value=2.0"]


def test_rare_labels_are_counted_after_quarantine() -> None:
    rows = table([*good(), {"text": "one", "label": "c"}, {"text": "ONE", "label": "a"}, {"text": "two", "label": "c"}])
    quality = run(rows)
    assert quality.verdict.verdict == "fail"
    assert "'c' (1" in named(quality)["rows a label"].message


def test_unlabelled_reference_rows_are_kept_in_later_windows() -> None:
    rows = table([*good(), *({"text": f"late {at}", "label": None} for at in range(30))])
    assert run(rows, first_window=True).verdict.verdict == "fail"
    later = run(rows, first_window=False)
    assert (later.verdict.verdict, later.verdict.kept) == ("pass", 90)


def test_a_table_without_rows_fails_with_a_verdict() -> None:
    quality = run(table([]))
    assert quality.verdict.verdict == "fail"
    assert {"rows", "rows a label"} <= set(named(quality))
    assert quality.clean.empty


def test_all_rows_in_quarantine_leave_a_verdict_too() -> None:
    quality = run(table([{"text": " "}, {"text": ""}]), max_quarantine_share=1.0)
    assert (quality.verdict.verdict, quality.verdict.kept, quality.verdict.quarantined) == ("fail", 0, 2)
    assert named(quality)["rows"].message == "no row is left to work with"


def test_findings_are_ordered_by_severity() -> None:
    rows = table([*good(), *({"text": " ", "label": "a"} for _ in range(9)), {"text": "ok", "label": "a"}])
    severities = [finding.severity for finding in run(rows).verdict.findings]
    assert severities == sorted(severities, key=["critical", "warning", "info"].index)
    assert {"critical", "warning"} <= set(severities)


def test_the_same_rows_give_the_same_bytes() -> None:
    rows = table([*good(), {"text": " ", "label": "a"}])
    one, two = (canonical_json(run(rows).verdict.model_dump(mode="json")) for _ in range(2))
    assert one == two


def test_contradicting_labels_of_medical_abstracts_are_all_found() -> None:
    path = shared_data("text_cls", "medical_abstracts", "medical_abstracts_test.csv")
    columns = ColumnParams(text="text", label="label_name", split=None, group=None)
    rows = read_table(path, name=path.name, columns=columns, encoding="auto", role="reference")
    quality = run(rows)
    assert quality.verdict.verdict == "fail"
    # The data set's own description counts 113 such abstracts.
    assert "(113 texts)" in named(quality)["conflicting labels"].message
    assert run(rows, max_quarantine_share=0.1).verdict.quarantined == named(quality)["conflicting labels"].count


def test_requests_of_banking77_pass_with_their_duplicates_named(tmp_path: Path) -> None:
    path = shared_data("text_cls", "banking77", "banking77.csv")
    columns = ColumnParams(text="text", label="label_name", split="split", group=None)
    rows = read_table(path, name=path.name, columns=columns, encoding="auto", role="reference")
    quality = run(rows)
    assert (quality.verdict.verdict, quality.verdict.kept, len(quality.verdict.labels)) == ("pass", 13083, 77)
    assert named(quality)["duplicate text"].count == 12
    assert named(quality)["near-duplicate text"].count > 100
