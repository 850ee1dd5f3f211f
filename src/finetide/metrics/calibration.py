"""How far scores can be believed: softmax, NLL, ECE and temperature scaling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from finetide.metrics.classification import FloatArray, IntArray

LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.05, 20.0
BISECTIONS = 60


@dataclass(frozen=True)
class Bin:
    """One bar of a reliability diagram: scores in (low, high], their mean, and the share of them that was right."""

    low: float
    high: float
    confidence: float
    accuracy: float
    rows: int


def log_softmax(logits: FloatArray, temperature: float = 1.0) -> FloatArray:
    """Log-probabilities of ``logits / temperature``, shape [rows, labels]."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    scaled = scaled - scaled.max(axis=-1, keepdims=True)
    return np.asarray(scaled - np.log(np.exp(scaled).sum(axis=-1, keepdims=True)))


def softmax(logits: FloatArray, temperature: float = 1.0) -> FloatArray:
    """Probabilities of ``logits / temperature``, shape [rows, labels]."""
    return np.asarray(np.exp(log_softmax(logits, temperature)))


def nll(logits: FloatArray, truth: IntArray, temperature: float = 1.0) -> float:
    """Mean negative log-likelihood of the true labels, in nats. At least one row."""
    return float(-log_softmax(logits, temperature)[np.arange(len(truth)), truth].mean())


def reliability(confidence: FloatArray, correct: FloatArray, bins: int) -> list[Bin]:
    """``bins`` bins of equal width over (0, 1]; one without rows has confidence and accuracy 0.

    Args:
        confidence: the score of the predicted label, shape [rows], in [0, 1].
        correct: 1 where the prediction is right, else 0, shape [rows].
    """
    index = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    rows = np.bincount(index, minlength=bins)
    shown = np.maximum(rows, 1)
    mean_confidence = np.bincount(index, weights=confidence, minlength=bins) / shown
    mean_correct = np.bincount(index, weights=correct, minlength=bins) / shown
    return [
        Bin(i / bins, (i + 1) / bins, float(mean_confidence[i]), float(mean_correct[i]), int(rows[i]))
        for i in range(bins)
    ]


def ece(confidence: FloatArray, correct: FloatArray, bins: int) -> float:
    """Expected calibration error: Σ_b (n_b / n) · |accuracy_b − confidence_b| over bins of equal width.

    Naeini, Cooper and Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI 2015, §3.
    """
    gaps = [bar.rows * abs(bar.accuracy - bar.confidence) for bar in reliability(confidence, correct, bins)]
    return float(sum(gaps) / max(len(confidence), 1))


def fit_temperature(logits: FloatArray, truth: IntArray) -> float:
    """The T in [0.05, 20] that minimises the NLL of softmax(logits / T).

    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, §4.2. The NLL is convex in 1/T, so its slope
    there, mean over rows of E_p[z] − z_true, rises with 1/T: bisection of the slope's sign cannot miss the minimum.

    T is 1 where there is nothing to fit: no rows, or every prediction right. In the latter case the NLL falls for ever
    as T goes to 0, which says that the sample is small and not that the model is never wrong.
    """
    logits = np.asarray(logits, dtype=np.float64)
    if len(truth) == 0 or bool((logits.argmax(axis=-1) == truth).all()):
        return 1.0
    low, high = np.log(LOWEST_TEMPERATURE), np.log(HIGHEST_TEMPERATURE)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if _slope(logits, truth, float(np.exp(middle))) > 0:
            low = middle
        else:
            high = middle
    return float(np.exp((low + high) / 2))


def _slope(logits: FloatArray, truth: IntArray, temperature: float) -> float:
    """Derivative of the NLL by 1/T; positive where a higher T is better."""
    expected = (softmax(logits, temperature) * logits).sum(axis=-1)
    return float((expected - logits[np.arange(len(truth)), truth]).mean())
