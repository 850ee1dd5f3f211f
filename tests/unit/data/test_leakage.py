from __future__ import annotations

from typing import Any

from finetide.contracts.quality import Finding, LeakageVerdict
from finetide.data.leakage import check
from finetide.data.split import texts_of
from support.rows import table

BASE = [
    {"text": f"{word} {at * 7919} words", "label": label, "split": side}
    for label in ("a", "b")
    for at, (word, side) in enumerate([("one", "train"), ("two", "validation"), ("three", "test")], start=ord(label))
]
LONG = "my parcel has not arrived yet, can you tell me where it is"


def verdict(*more: dict[str, Any], given: bool = False) -> LeakageVerdict:
    """The verdict on rows that lie where ``split`` says; ``given``: because the user said so."""
    rows = table([*BASE, *({"label": "a", **row} for row in more)])
    return check(rows, list(rows["split"]) if given else [None] * len(rows), texts_of(rows))


def only(found: LeakageVerdict) -> Finding:
    (finding,) = found.findings
    return finding


def test_rows_that_do_not_meet_pass() -> None:
    found = verdict()
    assert (found.verdict, found.reason, found.findings) == ("pass", "Nothing stands on two sides.", ())
    assert found.counts == {"reference": {"train": 2, "validation": 2, "test": 2}}


def test_roles_are_counted_apart() -> None:
    found = verdict({"text": "from afar", "split": "test", "role": "incoming"})
    assert found.counts["incoming"] == {"train": 0, "validation": 0, "test": 1}


def test_a_text_on_two_sides_of_our_split_is_critical() -> None:
    found = verdict({"text": "Hello there", "split": "train"}, {"text": "hello  there", "split": "test"})
    assert found.verdict == "fail"
    finding = only(found)
    assert (finding.check, finding.severity, finding.count) == ("same text on two sides", "critical", 2)
    assert finding.message == "1 texts are on more than one side by our own split"
    assert [(row.row_id, row.column, row.value) for row in finding.rows] == [
        ("a.csv:8", "split", "train: Hello there"),
        ("a.csv:9", "split", "test: hello  there"),
    ]


def test_a_text_on_two_sides_of_a_given_split_is_a_warning() -> None:
    found = verdict({"text": "hello", "split": "train"}, {"text": "hello", "split": "test"}, given=True)
    assert found.verdict == "pass"
    assert (only(found).severity, only(found).count) == ("warning", 2)
    assert only(found).message == "1 texts are on more than one side by the given split"
    assert "1 texts are on more than one side by the given split" in found.reason


def test_a_text_in_groups_of_two_sides_is_a_warning() -> None:
    found = verdict({"text": "hello", "split": "train", "group": "1"}, {"text": "hello", "split": "test", "group": "2"})
    assert (found.verdict, only(found).severity) == ("pass", "warning")
    assert only(found).message == "1 texts are on more than one side because their groups are"


def test_a_group_on_two_sides_is_critical_unless_the_split_was_given() -> None:
    rows = ({"text": "hello", "split": "train", "group": "1"}, {"text": "good bye", "split": "test", "group": "1"})
    ours, theirs = verdict(*rows), verdict(*rows, given=True)
    assert (ours.verdict, only(ours).severity) == ("fail", "critical")
    assert only(ours).message == "1 groups are on more than one side by our own split"
    assert (theirs.verdict, only(theirs).severity) == ("pass", "warning")
    assert only(theirs).message == "1 groups are on more than one side by the given split"


def test_near_duplicates_of_one_file_on_two_sides_are_critical() -> None:
    found = verdict({"text": LONG, "split": "train"}, {"text": f"{LONG}!", "split": "test"})
    assert (found.verdict, only(found).check) == ("fail", "near-duplicate texts on two sides")
    assert only(found).message == "1 pairs of texts share 80% or more of their 5-grams"
    assert [row.row_id for row in only(found).rows] == ["a.csv:8", "a.csv:9"]


def test_near_duplicates_of_two_files_or_a_given_split_are_a_warning() -> None:
    apart = verdict({"text": LONG, "split": "train"}, {"text": f"{LONG}!", "split": "test", "file": "b.csv"})
    given = verdict({"text": LONG, "split": "train"}, {"text": f"{LONG}!", "split": "test"}, given=True)
    for found in (apart, given):
        assert (found.verdict, only(found).severity) == ("pass", "warning")


def test_a_side_without_labelled_rows_is_critical() -> None:
    rows = table([{"text": "one", "split": "train"}, {"text": "two", "split": "test", "label": None}])
    found = check(rows, [None, None], texts_of(rows))
    assert found.verdict == "fail"
    finding = next(one for one in found.findings if one.check == "empty side")
    assert (finding.severity, finding.message) == ("critical", "no labelled row is on: validation, test")


def test_a_label_that_is_not_on_every_side_is_a_warning() -> None:
    found = verdict({"text": "hello", "split": "train", "label": "c"})
    assert (found.verdict, only(found).check, only(found).severity) == ("pass", "label without a side", "warning")
    assert only(found).message == "labels that are not on every side: c (no validation, no test)"
    assert only(found).count == 1


def test_a_label_without_a_training_row_is_critical() -> None:
    found = verdict({"text": "hello", "split": "test", "label": "c"})
    assert (found.verdict, only(found).check, only(found).severity) == (
        "fail",
        "label without a training row",
        "critical",
    )
    assert only(found).message == "no model can learn these labels: c (no train, no validation)"


def test_no_row_at_all_fails_with_a_verdict() -> None:
    rows = table([])
    found = check(rows, [], texts_of(rows))
    assert (found.verdict, found.counts) == ("fail", {})
    assert only(found).check == "empty side"
