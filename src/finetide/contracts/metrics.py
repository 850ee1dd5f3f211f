"""metrics.json, evaluation.json: named numbers with intervals, in one shape for every family."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from finetide.contracts.base import Contract
from finetide.files import read_json


class Measure(Contract):
    """``low`` and ``high`` are null where no interval is computed; ``rows`` is what the value was computed on."""

    value: float
    low: float | None
    high: float | None
    rows: int


class Metrics(Contract):
    """metrics.json: role → metric → measure. What ``dvc metrics`` and ``finetide status`` show.

    ``baselines``: baseline (majority, zero-shot, probe, probe-reference-only) → role → metric → measure."""

    schema_version: Literal[1] = 1
    roles: dict[str, dict[str, Measure]]
    baselines: dict[str, dict[str, dict[str, Measure]]]


class LabelReport(Contract):
    precision: float
    recall: float
    f1: float
    rows: int


class ReliabilityBin(Contract):
    low: float
    high: float
    confidence: float
    accuracy: float
    rows: int


class Mistake(Contract):
    row_id: str
    text: str
    label: str
    predicted: str
    score: float


class Evaluation(Contract):
    """evaluation.json of labels: the detail behind metrics.json, by role. ``confusion[i][j]``: rows of label i
    predicted j."""

    schema_version: Literal[1] = 1
    labels: tuple[str, ...]
    temperature: float
    per_label: dict[str, dict[str, LabelReport]]
    confusion: dict[str, tuple[tuple[int, ...], ...]]
    reliability: dict[str, tuple[ReliabilityBin, ...]]
    mistakes: tuple[Mistake, ...]

    @property
    def serving(self) -> dict[str, float]:
        """What a bundle needs of it besides the temperature."""
        return {}


class KindReport(Contract):
    """Of the questions of one kind, by their question word, or by whether they have an answer."""

    exact_match: float
    f1: float
    rows: int


class AnswerEvaluation(Contract):
    """evaluation.json of answers, by role. ``null_threshold``: tuned on validation, null where every validation
    question has an answer. ``kinds``: role → kind → report."""

    schema_version: Literal[1] = 1
    temperature: float
    null_threshold: float | None
    kinds: dict[str, dict[str, KindReport]]
    reliability: dict[str, tuple[ReliabilityBin, ...]]
    mistakes: tuple[Mistake, ...]

    @property
    def serving(self) -> dict[str, float]:
        return {} if self.null_threshold is None else {"null_threshold": self.null_threshold}


def read_evaluation(path: Path) -> Evaluation | AnswerEvaluation:
    """Raises: IntegrityError when the file is of neither shape."""
    found = read_json(path)
    of_answers = isinstance(found, dict) and "null_threshold" in found
    return AnswerEvaluation.read(path) if of_answers else Evaluation.read(path)


# As a person reads them.
METRIC_NAMES = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "balanced_accuracy": "balanced accuracy",
    "auroc": "AUROC",
    "exact_match": "exact match",
    "f1": "F1",
    "answered_f1": "F1 where there is an answer",
    "unanswered": "left unanswered where there is none",
    "ece": "ECE, raw",
    "ece_calibrated": "ECE, calibrated",
    "nll": "NLL",
}
# What the model is told apart by first; metrics.json of every family has one of them.
MAIN = ("accuracy", "f1")


def main_metric(measures: Mapping[str, object]) -> str | None:
    """The name of the one that stands for all."""
    return next((name for name in MAIN if name in measures), None)
