"""Studies of question answering: the same verbs, measured by F1, without a probe."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from finetide.cli.main import cli
from finetide.contracts.search import Search
from finetide.contracts.study import FinishedRun, Study
from finetide.seeding import derive
from finetide.studies import compare, curve, depth, seeds
from finetide.studies.bench import Bench, open_bench
from finetide.studies.fit import Job, finished
from finetide.studies.policies import parse_policies
from finetide.studies.show import as_lines, sheet, write
from support.questions import MODEL, split_table, study_project

NO_PROBE = (
    "its solver fits one label a row, and an answer is a place in a text; the same head on the frozen base is what the "
    "policy head trains (finetide layers)"
)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = study_project(tmp_path / "faq", split_table())
    monkeypatch.chdir(made)
    return made


def played(at: Bench, job: Job) -> tuple[FinishedRun, bool]:
    """Right on nine tenths of the rows, from scratch on a tenth of them; else a word that no answer has."""
    chance = np.random.default_rng(derive(job.seed, f"{job.method} {job.policy}"))
    share = 0.1 if job.method == "scratch" else 0.9
    golds = [next((one["text"] for one in json.loads(said)), "") for said in at.test["answers"]]
    run = FinishedRun(
        method=job.method, seed=job.seed, rows=len(job.rows),
        predicted=tuple(gold if chance.random() < share else "nowhere" for gold in golds), validation=0.9, steps=1,
        seconds=1.0, joules=None, energy="not measured: no GPU", gap=0.1, trainable=10 if job.policy == "head" else 900,
    )  # fmt: skip
    return run, False


def test_compare_has_no_probe_and_says_why(root: Path) -> None:
    at = open_bench(root, MODEL, with_champion=True)
    found = compare.measure(at, 1, played)
    assert [one.method for one in found.results] == ["tuned", "scratch", "zero-shot"]
    assert found.left_out["probe"] == NO_PROBE
    assert (found.metrics, found.unit, found.labels) == (("f1", "exact_match"), "questions", None)
    assert set(found.naive) == {"lexical", "no answer"}
    share = (at.test["label"] == "unanswerable").mean()
    assert found.naive["no answer"] == pytest.approx(share)
    assert found.sentence.startswith("On incoming test rows fine-tuning from the base has an F1 of ")
    shown = sheet(found)
    assert shown.head[:5] == ("how", "reference", "interval", "exact match", "against fine-tuned")
    assert "Without any model, F1: sentence with most of the words " in shown.notes[1]
    assert "; no answer, always " in shown.notes[1]
    assert not any("labels" in note for note in shown.notes[:2] if "labelled" not in note)
    assert f"Probe is left out: {NO_PROBE}." in shown.notes


def test_differences_are_those_of_f1_with_an_interval_around_them(root: Path) -> None:
    at = open_bench(root, MODEL)
    tuned, scratch, _ = compare.measure(at, 1, played).results
    for role, difference in scratch.against.items():
        assert difference.value == pytest.approx(scratch.roles[role]["f1"].value - tuned.roles[role]["f1"].value)
        assert difference.low is not None
        assert difference.high is not None
        assert difference.low <= difference.value <= difference.high < 0
        assert difference.rows == int(at.masks[role].sum())
    assert scratch.runs[0].measures["f1"] == pytest.approx(scratch.roles["all"]["f1"].value)
    assert scratch.runs[0].collapsed is not None
    assert tuned.runs[0].collapsed is None


def test_the_curve_counts_questions_and_a_share_keeps_its_part_without_an_answer(root: Path) -> None:
    seen: list[pd.DataFrame] = []

    def finish(at: Bench, job: Job) -> tuple[FinishedRun, bool]:
        seen.append(job.rows)
        return played(at, job)

    at = open_bench(root, MODEL)
    found = curve.measure(at, (0.5,), 1, finish)
    half = [one for one in found.results if one.share == 0.5]
    assert [one.method for one in half] == ["tuned", "scratch"]
    assert found.left_out == {"probe": NO_PROBE}
    assert "the from-scratch F1 of all " in found.sentence
    assert " questions" in found.sentence
    (part,) = [rows for rows in seen if 0 < len(rows) < len(at.train)][:1]
    without = at.train["label"] == "unanswerable"
    assert (part["label"] == "unanswerable").sum() == pytest.approx(without.sum() / 2, abs=1)
    shown = sheet(found)
    assert shown.head == ("how", "share", "questions", "F1", "interval", "exact match", "seconds")
    assert "F1 by training questions, both together" in shown.charts[0]
    assert ">training questions<" in shown.charts[0]


def test_layers_are_held_against_the_head_which_is_added(root: Path) -> None:
    at = open_bench(root, MODEL)
    found = depth.measure(at, parse_policies("full"), (1.0,), 1, played)
    assert [(one.policy, bool(one.against)) for one in found.results] == [("head", False), ("full", True)]
    assert found.results[1].shallower is not None
    assert found.yardstick == "the head with the same questions"
    assert found.left_out == {"probe": NO_PROBE}
    assert sheet(found).head[:6] == ("policy", "questions", "learn", "reference", "interval", "against head")
    same = depth.measure(at, parse_policies("full,head"), (1.0,), 1, played)
    assert [one.policy for one in same.results] == ["full", "head"]
    assert found.sentence in as_lines(found)


def test_seeds_and_the_pages(root: Path) -> None:
    at = open_bench(root, MODEL)
    for found in (seeds.measure(at, 2, played), depth.measure(at, parse_policies("full"), (0.5, 1.0), 1, played)):
        write(found, root / "out")
        page = (root / "out" / f"{found.kind}.html").read_text()
        assert "F1" in page
        assert "accuracy" not in page.lower()
        assert "://" not in page
        assert Study.read(root / "out" / f"{found.kind}.json") == found
    assert seeds.measure(at, 2, played).sentence.startswith("Over 2 seeds the F1 is ")


def test_a_real_run_says_texts_of_the_contexts_or_nothing_and_is_kept(root: Path) -> None:
    at = open_bench(root, MODEL)
    run, before = finished(at, Job("tuned", None, at.train, at.seed))
    assert not before
    assert len(run.predicted) == len(at.test)
    assert all(text in context for text, context in zip(run.predicted, at.test["context"], strict=True))
    assert finished(at, Job("tuned", None, at.train, at.seed)) == (run, True)
    zero, _ = finished(at, Job("zero-shot", None, at.train.head(0), at.seed))
    assert all(text and text in context for text, context in zip(zero.predicted, at.test["context"], strict=True))


@pytest.mark.slow
def test_the_verbs_end_to_end(root: Path) -> None:
    for arguments in (
        ["compare", MODEL],
        ["curve", MODEL, "--shares", "0.5"],
        ["seeds", MODEL, "--seeds", "2"],
        ["layers", MODEL, "--policies", "full", "--shares", "1"],
    ):
        said = CliRunner().invoke(cli, arguments, catch_exceptions=False)
        assert said.exit_code == 0, said.output
        found = Study.read(root / "studies" / MODEL / f"{arguments[0]}.json")
        assert found.sentence in said.stdout
        assert found.metrics[0] == "f1"
    said = CliRunner().invoke(cli, ["tune", MODEL, "--trials", "2", "--dry-run"], catch_exceptions=False)
    assert "validation F1" in said.stdout
    assert "an F1 of " in said.stdout
    assert Search.read(root / "studies" / MODEL / "tune.json").metric == "F1"
    said = CliRunner().invoke(cli, ["rate", MODEL, "--steps", "25"], catch_exceptions=False)
    assert "for phase 1" in said.stdout
