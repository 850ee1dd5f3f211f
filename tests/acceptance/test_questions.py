"""The road of a question answering model: the user's SQuAD file → a bundle, stage by stage, in this process."""

from __future__ import annotations

import json
import shutil
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from finetide.config.stage import Stage
from finetide.contracts.bundle import Parity
from finetide.contracts.judge import JudgeVerdict
from finetide.contracts.metrics import AnswerEvaluation, Metrics, read_evaluation
from finetide.contracts.training import TrainingReport
from finetide.files import tree_hashes
from finetide.runtime import load, verify
from support.questions import MODEL, rows, write_project, write_squad

STAGES = ("ingest", "validate", "split", "shift", "gate", "train", "evaluate", "export", "judge")


def run(root: Path, *names: str) -> None:
    for name in names:
        import_module(f"finetide.stages.{name}").run(Stage.open(root, name, MODEL))


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("road")
    given = write_squad(folder / "known.json", rows(60, without=2))
    root = write_project(folder / "project", given, write_squad(folder / "new.json", rows(20, start=60, later=True)))
    run(root, *STAGES)
    return root


def test_from_a_squad_file_to_a_judged_bundle(road: Path) -> None:
    out = road / "artifacts" / MODEL
    training = TrainingReport.read(out / "train" / "training.json")
    assert "validation F1" in training.sentence
    metrics = Metrics.read(out / "evaluate" / "metrics.json")
    assert {"exact_match", "f1", "answered_f1", "unanswered", "ece", "ece_calibrated"} <= set(
        metrics.roles["reference"]
    )
    assert set(metrics.baselines) == {"lexical", "zero-shot", "no answer"}
    evaluation = read_evaluation(out / "evaluate" / "evaluation.json")
    assert isinstance(evaluation, AnswerEvaluation)
    assert evaluation.null_threshold is not None
    assert {"who", "when", "which", "how", "(answerable)", "(unanswerable)"} <= set(evaluation.kinds["all"])
    parity = Parity.read(out / "export" / "parity.json")
    assert parity.passed
    assert parity.agreement == 1.0
    verdict = JudgeVerdict.read(out / "judge" / "judge.json")
    assert verdict.verdict == "promote"
    assert verdict.metric == "f1"
    assert verdict.challenger == pytest.approx(metrics.roles["all"]["f1"].value, abs=0.02)


def test_the_bundle_answers_and_replays(road: Path) -> None:
    bundle = road / "artifacts" / MODEL / "export" / "bundle"
    assert verify(bundle).examples > 0
    predictor = load(bundle)
    context = rows(1)[0]["context"]
    pairs = [("Who built the north bridge?", context), {"question": "How high is it?", "context": context * 9}]
    for found, asked in zip(predictor.predict(pairs), (context, context * 9), strict=True):
        assert 0.0 <= found.score <= 1.0
        assert found.text == ("" if found.start is None else asked[found.start : found.end])
    reading = json.loads((bundle / "reading.json").read_text())
    assert reading["stride"] == 16
    assert reading["null_threshold"] is not None


def test_the_same_inputs_give_the_same_bytes(road: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    shutil.copytree(road, again, ignore=shutil.ignore_patterns("artifacts", ".finetide"))
    run(again, *STAGES[:7])
    before = tree_hashes(road / "artifacts")
    after = tree_hashes(again / "artifacts")
    assert after
    assert {name: before[name] for name in after} == after


def test_predictions_are_those_of_the_metrics(road: Path) -> None:
    import pyarrow.parquet as pq

    out = road / "artifacts" / MODEL / "evaluate"
    table = pq.read_table(out / "predictions.parquet").to_pandas()
    test = table[(table["split"] == "test") & table["label"].notna()]
    assert np.mean(test["f1"]) == pytest.approx(Metrics.read(out / "metrics.json").roles["all"]["f1"].value)
    assert (test["predicted"].eq("") == test["start"].isna()).all()
