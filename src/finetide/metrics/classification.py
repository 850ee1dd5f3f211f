"""Accuracy, F1 and confusion, all from the same three counts a label."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

IntArray = np.ndarray[Any, np.dtype[np.int64]]
FloatArray = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Counts:
    """What accuracy and F1 need. Each of shape [..., labels]; leading axes are resamples.

    ``hits``: rows of the label that were predicted as it; ``support``: rows of the label; ``predicted``: rows
    predicted as it.
    """

    hits: FloatArray
    support: FloatArray
    predicted: FloatArray


def count(truth: IntArray, predicted: IntArray, labels: int) -> Counts:
    """Counts of shape [labels] from two arrays [rows] of label indices."""

    def by_label(values: IntArray) -> FloatArray:
        return np.bincount(values, minlength=labels).astype(np.float64)

    return Counts(by_label(truth[truth == predicted]), by_label(truth), by_label(predicted))


def accuracy(counts: Counts) -> FloatArray:
    """Share of rows predicted right, shape [...]; 0 where there are no rows."""
    return _ratio(counts.hits.sum(axis=-1), counts.support.sum(axis=-1))


def macro_f1(counts: Counts) -> FloatArray:
    """Mean F1 over the labels that occur in the truth, shape [...]; 0 where there are no rows.

    A label without a true row has no recall, so it would only add noise of its false positives; those already cost
    recall of the labels that the rows really have.
    """
    present = counts.support > 0
    return _ratio(np.where(present, f1(counts), 0.0).sum(axis=-1), present.sum(axis=-1).astype(np.float64))


def balanced_accuracy(counts: Counts) -> FloatArray:
    """Mean recall of the labels that occur in the truth, shape [...]; 0 where there are no rows."""
    present = counts.support > 0
    return _ratio(np.where(present, recall(counts), 0.0).sum(axis=-1), present.sum(axis=-1).astype(np.float64))


def auroc(truth: IntArray, scores: FloatArray) -> float:
    """Area under the ROC curve: how often a row of label 1 scores above one of label 0, ties counting half.

    Args: truth: 0 or 1, shape [rows], both there; scores: of label 1, shape [rows].
    """
    order = np.argsort(scores, kind="stable")
    _, starts, counts = np.unique(scores[order], return_index=True, return_counts=True)
    ranks = np.empty(len(scores))
    ranks[order] = np.repeat(starts + (counts + 1) / 2, counts)
    positive = int((truth == 1).sum())
    return float((ranks[truth == 1].sum() - positive * (positive + 1) / 2) / (positive * (len(truth) - positive)))


def precision(counts: Counts) -> FloatArray:
    """Of the rows predicted as a label the share that has it, shape [..., labels]; 0 where it is never predicted."""
    return _ratio(counts.hits, counts.predicted)


def recall(counts: Counts) -> FloatArray:
    """Of the rows of a label the share predicted as it, shape [..., labels]; 0 where it has no rows."""
    return _ratio(counts.hits, counts.support)


def f1(counts: Counts) -> FloatArray:
    """Harmonic mean of precision and recall: 2·hits / (support + predicted), shape [..., labels]."""
    return _ratio(2.0 * counts.hits, counts.support + counts.predicted)


def confusion(truth: IntArray, predicted: IntArray, labels: int) -> IntArray:
    """``[i, j]``: rows of label i predicted as j, shape [labels, labels]."""
    cells = np.bincount(truth * labels + predicted, minlength=labels * labels)
    return cells.astype(np.int64).reshape(labels, labels)


Metric = Callable[[Counts], FloatArray]
METRICS: Mapping[str, Metric] = {"accuracy": accuracy, "macro_f1": macro_f1}


def _ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)
