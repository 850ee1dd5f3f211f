"""evaluation.json: labels one by one, confusion, reliability and the worst mistakes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from finetide.contracts.metrics import LabelReport, Mistake, ReliabilityBin
from finetide.evaluation.measures import BoolArray
from finetide.metrics.calibration import reliability
from finetide.metrics.classification import FloatArray, IntArray, confusion, count, f1, precision, recall

MISTAKES = 30


def per_label(
    truth: IntArray, predicted: IntArray, labels: Sequence[str], masks: Mapping[str, BoolArray]
) -> dict[str, dict[str, LabelReport]]:
    """Role → label → report, for the labels that have a true or a predicted row there."""
    found: dict[str, dict[str, LabelReport]] = {}
    for role, mask in masks.items():
        counts = count(truth[mask], predicted[mask], len(labels))
        scores = np.stack([precision(counts), recall(counts), f1(counts)])
        found[role] = {
            label: LabelReport(
                precision=float(scores[0, i]),
                recall=float(scores[1, i]),
                f1=float(scores[2, i]),
                rows=int(counts.support[i]),
            )
            for i, label in enumerate(labels)
            if counts.support[i] or counts.predicted[i]
        }
    return found


def confusions(
    truth: IntArray, predicted: IntArray, labels: int, masks: Mapping[str, BoolArray]
) -> dict[str, tuple[tuple[int, ...], ...]]:
    """Role → matrix; ``[i][j]`` rows of label i predicted as j."""
    return {
        role: tuple(tuple(row) for row in confusion(truth[mask], predicted[mask], labels).tolist())
        for role, mask in masks.items()
    }


def reliabilities(
    truth: IntArray, probabilities: FloatArray, bins: int, masks: Mapping[str, BoolArray]
) -> dict[str, tuple[ReliabilityBin, ...]]:
    """Role → bars of the reliability diagram. ``probabilities``: calibrated, shape [rows, labels of the model]."""
    confidence = probabilities.max(axis=1)
    correct = (probabilities.argmax(axis=1) == truth).astype(np.float64)
    return {
        role: tuple(
            ReliabilityBin(low=bar.low, high=bar.high, confidence=bar.confidence, accuracy=bar.accuracy, rows=bar.rows)
            for bar in reliability(confidence[mask], correct[mask], bins)
        )
        for role, mask in masks.items()
    }


def worst_mistakes(
    ids: Sequence[str], texts: Sequence[str], truth: IntArray, probabilities: FloatArray, labels: Sequence[str]
) -> tuple[Mistake, ...]:
    """Up to 30 wrong predictions, the most confident first, equals by row id. ``probabilities``: calibrated."""
    predicted, score = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = sorted(np.flatnonzero(predicted != truth).tolist(), key=lambda i: (-score[i], ids[i]))
    return tuple(
        Mistake(
            row_id=ids[i],
            text=texts[i],
            label=labels[truth[i]],
            predicted=labels[predicted[i]],
            score=float(score[i]),
        )
        for i in wrong[:MISTAKES]
    )
