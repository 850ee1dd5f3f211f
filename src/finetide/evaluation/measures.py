"""metrics.json: one set of named numbers a role, for the model and for each baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from finetide.contracts.metrics import Measure
from finetide.contracts.rows import ROLES
from finetide.metrics.bootstrap import bootstrap
from finetide.metrics.calibration import ece, nll, softmax
from finetide.metrics.classification import METRICS, FloatArray, IntArray, auroc, balanced_accuracy
from finetide.seeding import generator

BoolArray = np.ndarray[Any, np.dtype[np.bool_]]


def role_masks(roles: Sequence[str]) -> dict[str, BoolArray]:
    """Which rows belong to each role that occurs, and to ``all`` where both do; masks of shape [rows]."""
    values = np.asarray(roles, dtype=object)
    masks: dict[str, BoolArray] = {role: values == role for role in ROLES if (values == role).any()}
    return {**masks, "all": np.ones(len(values), dtype=bool)} if len(masks) == len(ROLES) else masks


def classification_measures(
    truth: IntArray, predicted: IntArray, *, labels: int, resamples: int, confidence: float, seed: int, name: str
) -> dict[str, Measure]:
    """Accuracy and macro-F1 with intervals.

    Args:
        truth, predicted: label indices, shape [rows], at least one row.
        name: of what is measured, so that each has its own stream of chance.
    """
    found = {}
    for metric, function in METRICS.items():
        interval = bootstrap(
            truth,
            predicted,
            labels=labels,
            metric=function,
            resamples=resamples,
            confidence=confidence,
            chance=generator(seed, "evaluate", name, metric),
        )
        found[metric] = Measure(value=interval.value, low=interval.low, high=interval.high, rows=len(truth))
    return found


def score_measures(truth: IntArray, logits: FloatArray, *, temperature: float, bins: int) -> dict[str, Measure]:
    """ECE before and after temperature scaling, and NLL after it.

    Args:
        truth: label indices, shape [rows]; an index beyond the columns of ``logits`` is a label that the model does
            not know. Such a row counts as wrong in the ECE; its NLL would be infinite, so it is left out there, which
            the measure's ``rows`` shows.
        logits: shape [rows, labels of the model].
    """
    correct = (logits.argmax(axis=1) == truth).astype(np.float64)
    found = {}
    for name, scale in (("ece", 1.0), ("ece_calibrated", temperature)):
        confidence = softmax(logits, scale).max(axis=1)
        found[name] = Measure(value=ece(confidence, correct, bins), low=None, high=None, rows=len(truth))
    known = truth < logits.shape[1]
    if known.any():
        value = nll(logits[known], truth[known], temperature)
        found["nll"] = Measure(value=value, low=None, high=None, rows=int(known.sum()))
    return found


def extra_measures(
    names: Sequence[str], truth: IntArray, logits: FloatArray, *, labels: int, resamples: int, confidence: float,
    seed: int, name: str,
) -> dict[str, Measure]:  # fmt: skip
    """Those of ``names`` that these rows allow: ``balanced_accuracy``, and ``auroc`` where a model of two labels meets
    both of them.

    Args: truth, logits, labels, name: as in `classification_measures` and `score_measures`.
    """
    found = {}
    if "balanced_accuracy" in names:
        interval = bootstrap(
            truth, logits.argmax(axis=1), labels=labels, metric=balanced_accuracy, resamples=resamples,
            confidence=confidence, chance=generator(seed, "evaluate", name, "balanced_accuracy"),
        )  # fmt: skip
        found["balanced_accuracy"] = Measure(
            value=interval.value, low=interval.low, high=interval.high, rows=len(truth)
        )
    known = truth < 2
    if "auroc" in names and logits.shape[1] == 2 and len(np.unique(truth[known])) == 2:
        truth, scores = truth[known], (logits[:, 1] - logits[:, 0])[known]
        chance = generator(seed, "evaluate", name, "auroc")
        sides = [np.flatnonzero(truth == side) for side in (0, 1)]
        draws = []
        for _ in range(resamples):  # each label's rows by themselves, so that none is left without any
            rows = np.concatenate([chance.choice(side, len(side)) for side in sides])
            draws.append(auroc(truth[rows], scores[rows]))
        low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
        found["auroc"] = Measure(value=auroc(truth, scores), low=float(low), high=float(high), rows=len(truth))
    return found


def baseline_measures(
    truth: IntArray,
    predictions: Mapping[str, IntArray],
    masks: Mapping[str, BoolArray],
    *,
    labels: int,
    resamples: int,
    confidence: float,
    seed: int,
) -> dict[str, dict[str, dict[str, Measure]]]:
    """Baseline → role → metric → measure. ``predictions``: label indices by baseline, shape [rows] each."""
    return {
        baseline: {
            role: classification_measures(
                truth[mask],
                predicted[mask],
                labels=labels,
                resamples=resamples,
                confidence=confidence,
                seed=seed,
                name=f"{baseline}/{role}",
            )
            for role, mask in masks.items()
        }
        for baseline, predicted in predictions.items()
    }
