"""Percentile bootstrap intervals of a metric, and of the difference of two models on the same rows.

Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, §13.3 (percentile) and §6.3 (pairs of one row stay
together). Rows with the same truth and the same predictions are exchangeable, so a resample of rows is a multinomial
draw over the few distinct cells: the same distribution at a fraction of the cost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from finetide.metrics.classification import Counts, FloatArray, IntArray, Metric, count

# Bounds memory; the generator is read in order, so the results do not depend on it.
RESAMPLES_AT_ONCE = 128


@dataclass(frozen=True)
class Interval:
    """A value on all rows, with the ends of its interval."""

    value: float
    low: float
    high: float


def bootstrap(
    truth: IntArray,
    predicted: IntArray,
    *,
    labels: int,
    metric: Metric,
    resamples: int,
    confidence: float,
    chance: np.random.Generator,
) -> Interval:
    """Args: truth, predicted: label indices below ``labels``, shape [rows], at least one row."""
    return mean_bootstrap(
        truth, [predicted], labels=labels, metric=metric, resamples=resamples, confidence=confidence, chance=chance
    )


def paired_bootstrap(
    truth: IntArray,
    first: IntArray,
    second: IntArray,
    *,
    labels: int,
    metric: Metric,
    resamples: int,
    confidence: float,
    chance: np.random.Generator,
) -> Interval:
    """Metric of ``first`` minus metric of ``second``, both predictions of the same rows, shape [rows] each."""
    return mean_bootstrap(
        truth, [first], minus=[second], labels=labels, metric=metric, resamples=resamples, confidence=confidence,
        chance=chance,
    )  # fmt: skip


def mean_bootstrap(
    truth: IntArray,
    runs: Sequence[IntArray],
    *,
    minus: Sequence[IntArray] = (),
    labels: int,
    metric: Metric,
    resamples: int,
    confidence: float,
    chance: np.random.Generator,
) -> Interval:
    """Mean metric of ``runs`` less the mean metric of ``minus``, all predictions of the same rows, shape [rows] each.

    A resample takes the same rows of every run, so the interval is about which rows were drawn, not about the seeds.
    """
    shares = [1 / len(runs) for _ in runs] + [-1 / len(minus) for _ in minus]
    predictions = [*runs, *minus]
    values = [float(metric(count(truth, one, labels))) for one in predictions]
    draws = [
        sum((share * metric(counts) for share, counts in zip(shares, drawn, strict=True)), np.zeros(()))
        for drawn in _resample(truth, predictions, labels, resamples, chance)
    ]
    value = sum(share * one for share, one in zip(shares, values, strict=True))
    return _interval(value, np.concatenate(draws), confidence)


def _resample(
    truth: IntArray, predictions: list[IntArray], labels: int, resamples: int, chance: np.random.Generator
) -> Iterator[list[Counts]]:
    """Counts of shape [some resamples, labels] of each of the predictions, until all resamples are drawn."""
    cells, sizes = np.unique(np.stack([truth, *predictions]), axis=1, return_counts=True)
    one_hot = np.eye(labels)
    support = one_hot[cells[0]]
    for start in range(0, resamples, RESAMPLES_AT_ONCE):
        size = min(RESAMPLES_AT_ONCE, resamples - start)
        # Whole numbers in float64: the sums are exact, whatever order a BLAS adds them in.
        weights = chance.multinomial(len(truth), sizes / len(truth), size=size).astype(np.float64)
        yield [
            Counts(
                hits=weights @ (support * (cells[0] == cell)[:, None]),
                support=weights @ support,
                predicted=weights @ one_hot[cell],
            )
            for cell in cells[1:]
        ]


def _interval(value: float, draws: FloatArray, confidence: float) -> Interval:
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value, float(low), float(high))
