from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from finetide.data import expectations
from finetide.data.expectations import Outcome, check_suite, read_suite, run_suite
from finetide.data.suites import default_suite
from finetide.errors import DataError
from support.rows import table


def rows(*texts: str, **columns: list[Any]) -> pd.DataFrame:
    made = table([{"text": text} for text in texts]).assign(**columns)
    return made.assign(text_length=made["text"].str.len(), text_tokens=3)


def suite(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"name": "mine", "expectations": list(entries)}


def expect(kind: str, severity: str = "critical", **kwargs: Any) -> dict[str, Any]:
    return {"type": f"expect_{kind}", "kwargs": kwargs, "severity": severity}


def failed(outcomes: list[Outcome]) -> dict[str, tuple[str, ...]]:
    return {outcome.notes: outcome.row_ids for outcome in outcomes if not outcome.result.passed}


def test_outcomes_come_in_the_order_of_the_suite_with_severity_column_and_rows() -> None:
    one, two, three = run_suite(
        suite(
            expect("column_values_to_not_match_regex", "warning", column="text", regex="b"),
            expect("table_row_count_to_be_between", "info", min_value=5),
            expect("column_values_to_not_be_null", column="text"),
        ),
        rows("abc", "x", "b"),
    )
    assert one.result.check == "expect_column_values_to_not_match_regex(text)"
    assert one.result.source == "great-expectations"
    assert (one.result.severity, one.result.passed, one.column) == ("warning", False, "text")
    assert one.row_ids == ("a.csv:2", "a.csv:4")
    assert one.result.detail == "2 of 3 rows are not as expected; regex=b"
    assert (two.result.severity, two.result.passed, two.row_ids) == ("info", False, ())
    assert two.result.detail == "observed: 3; min_value=5"
    assert (three.result.passed, three.row_ids) == (True, ())


def test_every_expectation_of_the_default_suite_can_fail() -> None:
    bad = ["\ufffd", "CafÃ©", "bell\x07", " N/A ", "<b>hi</b>", "?!", "x" * 20_001, *["same"] * 20]
    frame = rows(*bad, label=[" x"] * len(bad), role=["other"] * len(bad)).drop(columns="group")
    frame["row_id"] = frame["row_id"].replace("a.csv:3", "a.csv:2")
    frame["text_tokens"] = 5000
    frame.loc[22, "text"] = None
    notes = failed(run_suite(default_suite("text-classification"), frame))
    everything = {entry["meta"]["notes"] for entry in default_suite("text-classification")["expectations"]}
    assert everything - set(notes) == {"there is no row to learn from"}
    assert notes["UTF-8 that was read as Windows-1252"] == ("a.csv:2",)
    assert notes["the text has control characters"] == ("a.csv:4",)
    assert notes["a placeholder stands where a text should"] == ("a.csv:5",)
    assert "there is no row to learn from" in failed(run_suite(default_suite("text-classification"), frame.iloc[:0]))


def test_good_rows_of_any_script_pass_the_default_suite() -> None:
    frame = rows("Wo ist mein Päckchen?", "где моя посылка", "我的包裹在哪里", "1 < 2 & 3 > 2")
    assert failed(run_suite(default_suite("text-classification"), frame)) == {}


def test_an_expectation_that_cannot_be_run_is_critical_whatever_the_suite_says() -> None:
    (outcome,) = run_suite(suite(expect("column_values_to_not_be_null", "info", column="txet")), rows("a"))
    assert outcome.stopped
    assert (outcome.result.severity, outcome.result.passed) == ("critical", False)
    assert 'could not be run: Error: The column "txet" in BatchData does not exist' in outcome.result.detail


def test_the_same_expectation_may_stand_in_a_suite_twice() -> None:
    twice = [expect("column_values_to_match_regex", "info", column="text", regex=regex) for regex in ("a", "b")]
    outcomes = run_suite(suite(*twice), rows("a"))
    assert [outcome.result.passed for outcome in outcomes] == [True, False]


def test_mostly_is_honoured() -> None:
    wanted = suite(expect("column_values_to_match_regex", column="text", regex="a", mostly=0.6))
    assert run_suite(wanted, rows("a", "a", "b"))[0].result.passed
    assert not run_suite(wanted, rows("a", "b", "b"))[0].result.passed


def test_rows_are_named_by_their_place_whatever_their_index_is() -> None:
    """pandas keeps a range, one that begins later, when the first rows are left out."""
    wanted = suite(expect("column_values_to_not_match_regex", column="text", regex="x"))
    left = rows("a", "b", "x").iloc[1:]
    assert left.index[0] == 1
    assert run_suite(wanted, left)[0].row_ids == (rows("a", "b", "x")["row_id"].iloc[2],)


def test_a_suite_without_expectations_runs() -> None:
    assert run_suite(suite(), rows("a")) == []


def test_running_leaves_rows_and_suite_as_they_were() -> None:
    frame, wanted = rows("a", "b"), default_suite("text-classification")
    before = frame.copy(), copy.deepcopy(wanted)
    run_suite(wanted, frame)
    pd.testing.assert_frame_equal(frame, before[0])
    assert wanted == before[1]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            expect("column_values_to_be_nul", column="text"),
            r"suite.json: expectations\[0\]: Great Expectations knows no such expectation "
            r"\(found 'expect_column_values_to_be_nul'\)\n  fix: did you mean 'expect_column_values_to_be_null'",
        ),
        (
            expect("column_values_to_be_in_set", colum="text", value_set=["a"]),
            r"expectations\[0\]: expect_column_values_to_be_in_set: .*column field required",
        ),
    ],
)
def test_what_great_expectations_would_only_log_is_refused(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        run_suite(suite(entry), rows("a"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"suite.json: is not valid JSON"),
        ("[]", r"is no suite: it needs a name and a list of expectations \(found 'list'\)"),
        ('{"name": "x"}', r"is no suite: .* \(found 'name'\)"),
        ('{"expectations": []}', r"is no suite: .* \(found 'expectations'\)"),
        ('{"name": "x", "expectations": [1]}', r"suite.json: expectations\[0\]: needs a type \(found '1'\)"),
        ('{"name": "x", "expectations": [{"kwargs": {}}]}', r"expectations\[0\]: needs a type"),
        (
            json.dumps(suite({"type": "expect_x", "kwargs": {}, "severity": "fatal"})),
            r"expectations\[0\]: needs a severity: critical, warning or info \(found 'fatal'\)",
        ),
        (json.dumps(suite({"type": "expect_x", "kwargs": {}})), r"needs a severity: critical, warning or info"),
    ],
)
def test_files_that_are_no_suite_are_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "suite.json").write_text(content)
    with pytest.raises(DataError, match=message):
        read_suite(tmp_path / "suite.json")


@pytest.mark.parametrize("content", ["{", "[]", '{"name": "x", "expectations": [1]}'])
def test_a_bad_suite_is_named_in_full_and_comes_from_git(tmp_path: Path, content: str) -> None:
    path = tmp_path / "data" / "mail" / "suite.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(DataError) as caught:
        read_suite(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).endswith("or take it from git: git checkout data/mail/suite.json")


def test_what_only_running_shows_names_the_file_in_full(tmp_path: Path) -> None:
    path = tmp_path / "suite.json"
    path.write_text(json.dumps(suite(expect("column_values_to_not_be_nul", column="text"))))
    with pytest.raises(DataError) as caught:
        run_suite(read_suite(path), rows("a"))
    assert str(caught.value).startswith(f"{path}: expectations[0]: ")


def test_the_check_of_a_suite_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "suite.json").write_text(json.dumps(suite(expect("a"), expect("b", "info"))))
    assert check_suite(tmp_path / "suite.json") == "2 expectations, 1 of them critical"


def test_importing_the_module_does_not_load_great_expectations() -> None:
    code = "import sys, finetide.data.expectations, finetide.data.suites; sys.exit('great_expectations' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_some_rows_at_a_time_find_what_all_at_once_do(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = suite(
        expect("column_values_to_match_regex", column="text", regex="a", mostly=0.5),
        expect("column_values_to_match_regex", column="text", regex="a", mostly=0.6),
        expect("column_values_to_not_be_null", column="label", mostly=0.8),
        expect("column_values_to_not_be_null", column="label"),
        expect("column_values_to_be_in_set", column="label", value_set=["x"]),
        expect("column_values_to_be_between", "info", column="text_length", max_value=2),
        expect("column_values_to_be_unique", column="text"),
        expect("column_values_to_match_regex", column="txet", regex="a"),
        *default_suite("text-classification")["expectations"],
    )
    labels = ["x", "x", "x", None, "y", None, "x", "x"]
    frame = rows("a", "b", "ab", "a", "ccc", "d", "a!", "", label=labels)
    whole = run_suite(wanted, frame)
    monkeypatch.setattr(expectations, "SOME_ROWS", 3)
    assert run_suite(wanted, frame) == whole
    assert [outcome.result.passed for outcome in whole[:7]] == [True, False, False, False, False, False, False]
    assert whole[6].row_ids == ("a.csv:2", "a.csv:5")
