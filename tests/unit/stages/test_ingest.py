from __future__ import annotations

from pathlib import Path

import pytest

from finetide.contracts.quality import IngestReport
from finetide.data.table import read_rows
from finetide.errors import ProjectError
from finetide.stages import ingest
from support.data_stage import DataProject


@pytest.fixture
def project(tmp_path: Path) -> DataProject:
    return DataProject(tmp_path)


def test_rows_and_report_are_written_and_equal_every_time(project: DataProject) -> None:
    project.add("shop.csv", "text,intent\nwhere is it,delivery\n")
    project.add("air.jsonl", '{"text": "my bag is lost"}\n', "incoming")
    ingest.run(project.stage("ingest"))
    rows, report = project.out("ingest", "rows.parquet"), project.out("ingest", "ingest.json")
    assert read_rows(rows)["row_id"].tolist() == ["shop.csv:2", "air.jsonl:1"]
    assert IngestReport.read(report).files == {"shop.csv": 1, "air.jsonl": 1}
    first = rows.read_bytes(), report.read_bytes()
    ingest.run(project.stage("ingest"))
    assert (rows.read_bytes(), report.read_bytes()) == first


def test_without_a_window_it_says_so(project: DataProject) -> None:
    with pytest.raises(ProjectError, match=r"window.json: is missing"):
        ingest.run(project.stage("ingest"))
