from __future__ import annotations

from pathlib import Path

import pytest

from finetide.contracts.quality import LeakageVerdict
from finetide.data.table import read_rows, write_rows
from finetide.errors import ProjectError
from finetide.stages import split
from support.data_stage import DataProject
from support.rows import table


@pytest.fixture
def project(tmp_path: Path) -> DataProject:
    return DataProject(tmp_path)


def test_every_row_has_a_side_and_the_verdict_is_written(project: DataProject) -> None:
    rows = table({"text": f"{at * 7919} {at}", "label": "ab"[at % 2]} for at in range(80))
    write_rows(rows, project.out("validate", "clean.parquet"))
    split.run(project.stage("split"))
    written = project.out("split", "split.parquet")
    done = read_rows(written)
    assert done["split"].value_counts().to_dict().keys() == {"train", "validation", "test"}
    verdict = LeakageVerdict.read(project.out("split", "leakage.json"))
    assert (verdict.verdict, sum(verdict.counts["reference"].values())) == ("pass", 80)
    first = written.read_bytes()
    split.run(project.stage("split"))
    assert written.read_bytes() == first


def test_what_the_given_split_leaks_is_told_from_what_we_leak(project: DataProject) -> None:
    rows = table(
        {"text": f"{at * 7919 % 20}", "label": "a", "split": ["train", "validation", "test"][at % 3]}
        for at in range(40)
    )
    write_rows(rows, project.out("validate", "clean.parquet"))
    split.run(project.stage("split"))
    verdict = LeakageVerdict.read(project.out("split", "leakage.json"))
    assert verdict.verdict == "pass"
    assert [(one.check, one.severity) for one in verdict.findings] == [("same text on two sides", "warning")]


def test_no_row_at_all_leaves_a_verdict(project: DataProject) -> None:
    write_rows(table([]), project.out("validate", "clean.parquet"))
    split.run(project.stage("split"))
    assert LeakageVerdict.read(project.out("split", "leakage.json")).verdict == "fail"


def test_without_rows_it_says_what_to_run(project: DataProject) -> None:
    with pytest.raises(ProjectError, match=r"clean.parquet: is missing"):
        split.run(project.stage("split"))
