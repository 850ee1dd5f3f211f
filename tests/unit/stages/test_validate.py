from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from finetide.contracts.quality import QualityVerdict
from finetide.contracts.window import ChampionPin
from finetide.data.table import read_rows
from finetide.errors import BaseModelError, DataError
from finetide.stages import ingest, validate
from support.data_stage import DataProject

OUTPUTS = ("quality.json", "quality.html", "clean.parquet", "quarantine.csv")
FLAWED = Path(__file__).parents[3] / "data" / "flawed" / "flawed.csv"


@pytest.fixture
def project(tmp_path: Path) -> DataProject:
    made = DataProject(tmp_path)
    made.params(validate={"min_rows_per_label": 2})
    return made


def rows(count: int = 40) -> str:
    lines = [f"request {at * 7919} {'xyz'[at % 3] * 9} {at},{'ab'[at % 2]}" for at in range(count)]
    return "\n".join(["text,intent", *lines]) + "\n"


def run(project: DataProject) -> QualityVerdict:
    ingest.run(project.stage("ingest"))
    validate.run(project.stage("validate"))
    return QualityVerdict.read(project.out("validate", "quality.json"))


def quarantine(project: DataProject) -> list[dict[str, str]]:
    with project.out("validate", "quarantine.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_all_outputs_are_there_also_when_nothing_is_wrong(project: DataProject) -> None:
    project.add("shop.csv", rows())
    assert run(project).verdict == "pass"
    assert len(read_rows(project.out("validate", "clean.parquet"))) == 40
    assert project.out("validate", "quarantine.csv").read_text() == "row_id,file,line,reason,text,label\n"
    assert "Data quality of" in project.out("validate", "quality.html").read_text()


def test_bad_rows_lie_in_the_quarantine_file_as_they_came(project: DataProject) -> None:
    project.add("shop.csv", rows() + '"a ""quoted"", text\nof two lines",zzz\n')
    project.params(validate={"labels": ["a", "b"]})
    assert run(project).quarantined == 1
    assert quarantine(project) == [
        {
            "row_id": "shop.csv:42",
            "file": "shop.csv",
            "line": "42",
            "reason": "label set",
            "text": 'a "quoted", text\nof two lines',
            "label": "zzz",
        }
    ]


def test_the_stage_succeeds_when_the_verdict_is_fail(project: DataProject) -> None:
    project.add("shop.csv", "text,intent\n" + " ,a\n" * 3)
    assert run(project).verdict == "fail"
    assert len(read_rows(project.out("validate", "clean.parquet"))) == 3


def test_the_same_inputs_give_the_same_bytes(project: DataProject) -> None:
    project.add("shop.csv", rows() + " ,a\n")
    run(project)
    first = [project.out("validate", name).read_bytes() for name in OUTPUTS]
    validate.run(project.stage("validate"))
    assert [project.out("validate", name).read_bytes() for name in OUTPUTS] == first
    assert not any(str(project.root).encode() in content for content in first)


def test_texts_are_measured_with_the_bases_tokenizer(project: DataProject) -> None:
    project.add("shop.csv", rows() + f"{'word ' * 200},a\n")
    (finding,) = [one for one in run(project).findings if one.check == "text longer than the model reads"]
    assert (finding.count, finding.rows[0].row_id) == (1, "shop.csv:42")
    assert "more than 128 tokens (train.max_length), up to 200" in finding.message


def test_unlabelled_reference_rows_fail_a_first_window_and_pass_later(project: DataProject) -> None:
    project.add("shop.csv", rows() + "".join(f"late {at * 7919} and {at},\n" for at in range(9)))
    assert run(project).verdict == "fail"
    project.window(ChampionPin(version="v1", hash="0" * 64))
    assert run(project).verdict == "pass"


def test_a_suite_that_cannot_be_run_stops_the_stage(project: DataProject) -> None:
    project.add("shop.csv", rows())
    suite = {"name": "x", "expectations": [{"type": "expect_luck", "kwargs": {}, "severity": "info"}]}
    (project.root / "data" / "tickets" / "suite.json").write_text(json.dumps(suite))
    with pytest.raises(DataError, match="Great Expectations knows no such expectation"):
        run(project)


def test_a_base_that_is_not_the_pinned_one_stops_the_stage(project: DataProject) -> None:
    project.add("shop.csv", rows())
    project.params(base={"sha256": "0" * 64})
    with pytest.raises(BaseModelError, match=r"is not the file that params.yaml pins"):
        run(project)


def test_a_table_without_rows_leaves_all_outputs(project: DataProject) -> None:
    project.window()
    assert run(project).verdict == "fail"
    assert all(project.out("validate", name).exists() for name in OUTPUTS)


LABELS = ["account", "cancel", "change", "damaged_or_lost", "information", "invoice", "payment", "refund", "status"]


def test_every_flaw_of_the_flawed_file_is_named_by_its_line(project: DataProject) -> None:
    """data/flawed/README.md says which flaw is on which line."""
    if not FLAWED.exists():
        pytest.skip(f"{FLAWED} is not there")
    project.add("flawed.csv", FLAWED.read_bytes())
    project.params(validate={"labels": [*LABELS, "praise"], "max_quarantine_share": 0.05})
    found = run(project)
    lines = {finding.check: [row.line for row in finding.rows] for finding in found.findings}
    assert found.verdict == "fail"
    assert lines["empty text"] == [3, 4]
    assert lines["near-duplicate text"] == [6]
    assert lines["duplicate text"] == [8, 10]
    assert sorted(lines["conflicting labels"]) == [9, 10]
    assert lines["label set"] == [11, 12]
    assert lines["missing label"] == [13]
    assert lines["short text"] == [14]
    assert 17 in lines["rows a label"]
    assert lines["text longer than the model reads"] == [23]
    message = {finding.check: finding.message for finding in found.findings}
    assert "'refnud' (1, did you mean 'refund'?)" in message["label set"]
    assert "'praise' (1)" in message["rows a label"]
    shown = project.out("validate", "quality.html").read_text(encoding="utf-8")
    assert all(f"<code>flawed.csv:{line}</code>" in shown for line in (3, 4, 6, 8, 9, 10, 11, 12, 13, 14, 17, 23))


def test_the_flawed_rows_go_to_quarantine_when_so_many_are_allowed(project: DataProject) -> None:
    if not FLAWED.exists():
        pytest.skip(f"{FLAWED} is not there")
    project.add("flawed.csv", FLAWED.read_bytes())
    project.params(validate={"labels": LABELS, "max_quarantine_share": 0.5, "min_rows_per_label": 1})
    run(project)
    assert {int(row["line"]): row["reason"] for row in quarantine(project)} == {
        3: "empty text",
        4: "empty text",
        9: "conflicting labels",
        10: "conflicting labels",
        11: "label set",
        12: "label set",
        13: "missing label",
        17: "label set",
    }
