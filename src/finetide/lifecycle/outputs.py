"""The files that stages left behind, found through dvc.yaml and read by their contracts."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from finetide.config.graph import stage_files
from finetide.contracts.base import Contract
from finetide.contracts.bundle import Parity
from finetide.contracts.judge import JudgeVerdict
from finetide.contracts.label_issues import LabelIssues
from finetide.contracts.metrics import METRIC_NAMES, Metrics, main_metric
from finetide.contracts.quality import IngestReport, LeakageVerdict, QualityVerdict
from finetide.contracts.shift import Recipe, ShiftVerdict
from finetide.contracts.training import TrainingReport
from finetide.registry import history, store
from finetide.report.words import worse_calibration

STAGES = ("ingest", "validate", "split", "shift", "gate", "train", "evaluate", "export", "judge")
Shape = TypeVar("Shape", bound=Contract)


def path_of(root: Path, model: str, stage: str, name: str) -> Path:
    return root / stage_files(root, stage, model).outs[name]


def _read(root: Path, model: str, stage: str, name: str, shape: type[Shape]) -> Shape | None:
    path = path_of(root, model, stage, name)
    return shape.read(path) if path.exists() else None


def ingest(root: Path, model: str) -> IngestReport | None:
    return _read(root, model, "ingest", "ingest.json", IngestReport)


def quality(root: Path, model: str) -> QualityVerdict | None:
    return _read(root, model, "validate", "quality.json", QualityVerdict)


def leakage(root: Path, model: str) -> LeakageVerdict | None:
    return _read(root, model, "split", "leakage.json", LeakageVerdict)


def shift(root: Path, model: str) -> ShiftVerdict | None:
    return _read(root, model, "shift", "shift.json", ShiftVerdict)


def recipe(root: Path, model: str) -> Recipe | None:
    return _read(root, model, "shift", "recipe.json", Recipe)


def training(root: Path, model: str) -> TrainingReport | None:
    return _read(root, model, "train", "training.json", TrainingReport)


def label_issues(root: Path, model: str) -> LabelIssues | None:
    return _read(root, model, "train", "label_issues.json", LabelIssues)


def metrics(root: Path, model: str) -> Metrics | None:
    return _read(root, model, "evaluate", "metrics.json", Metrics)


def parity(root: Path, model: str) -> Parity | None:
    return _read(root, model, "export", "parity.json", Parity)


def judge(root: Path, model: str) -> JudgeVerdict | None:
    return _read(root, model, "judge", "judge.json", JudgeVerdict)


def is_withdrawn(root: Path, model: str, entries: history.Entries, verdict: JudgeVerdict) -> bool:
    """Whether a rollback left the judged challenger: its bundle, or the training weights that lie here behind it."""
    if not history.withdrawn(entries):
        return False  # the usual case: no need to hash the weights
    weights = path_of(root, model, "train", "model")
    trained = store.weights_hash(weights) if weights.is_dir() else None
    return history.is_withdrawn(entries, verdict.challenger_hash, trained)


def verdict_paths(root: Path, model: str) -> tuple[Path, Path, Path]:
    """The three files whose hash an approval names."""
    return (
        path_of(root, model, "validate", "quality.json"),
        path_of(root, model, "split", "leakage.json"),
        path_of(root, model, "shift", "shift.json"),
    )


def sentence(root: Path, model: str, stage: str) -> str:
    """What a stage's outputs say, in one line; empty when it left none."""
    return _SENTENCES[stage](root, model) if stage in _SENTENCES else ""


def _ingest(root: Path, model: str) -> str:
    report = ingest(root, model)
    if report is None:
        return ""
    return f"{report.rows} rows: {report.reference} reference, {report.incoming} incoming, {report.labelled} labelled"


def _validate(root: Path, model: str) -> str:
    report = quality(root, model)
    return f"{report.verdict}: {report.reason}" if report else ""


def _split(root: Path, model: str) -> str:
    report = leakage(root, model)
    if report is None:
        return ""
    sides = {side: sum(counts.get(side, 0) for counts in report.counts.values()) for side in _SIDES}
    return ", ".join(f"{count} {side}" for side, count in sides.items()) + f"; leakage: {report.verdict}"


_SIDES = ("train", "validation", "test")


def _shift(root: Path, model: str) -> str:
    report = shift(root, model)
    return f"{report.verdict}: {report.sentence}" if report else ""


def _train(root: Path, model: str) -> str:
    report = training(root, model)
    return report.sentence if report else ""


def _evaluate(root: Path, model: str) -> str:
    report = metrics(root, model)
    if report is None:
        return ""
    said = [
        f"{role} {METRIC_NAMES[name]} {values[name].value:.1%} on {values[name].rows} rows"
        for role, values in report.roles.items()
        if (name := main_metric(values))
    ]
    worse = worse_calibration(report)
    return "; ".join([*said, *([f"calibration got worse ({'; '.join(worse)})"] if worse else [])])


def _export(root: Path, model: str) -> str:
    report = parity(root, model)
    if report is None:
        return ""
    said = f"largest difference {report.max_abs_error:.1e}, {report.agreement:.2%} same answers"
    if report.int8 is None:
        return said
    # export.py packs model.onnx as the default graph whatever the int8 file's figures are.
    place = "int8 variant also in the bundle, fp32 serves" if report.int8.kept else "int8 variant left out"
    return f"{said}; {place}: {report.int8.reason}"


def _judge(root: Path, model: str) -> str:
    report = judge(root, model)
    return f"{report.verdict}: {report.reason}" if report else ""


_SENTENCES = {
    "ingest": _ingest,
    "validate": _validate,
    "split": _split,
    "shift": _shift,
    "train": _train,
    "evaluate": _evaluate,
    "export": _export,
    "judge": _judge,
}
