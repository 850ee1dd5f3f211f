"""metrics.json, evaluation.json: named numbers with intervals, in one shape for every family."""

from __future__ import annotations

from typing import Literal

from finetide.contracts.base import Contract


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
    """evaluation.json: the detail behind metrics.json, by role. ``confusion[i][j]``: rows of label i predicted j."""

    schema_version: Literal[1] = 1
    labels: tuple[str, ...]
    temperature: float
    per_label: dict[str, dict[str, LabelReport]]
    confusion: dict[str, tuple[tuple[int, ...], ...]]
    reliability: dict[str, tuple[ReliabilityBin, ...]]
    mistakes: tuple[Mistake, ...]
