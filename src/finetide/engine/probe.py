"""A linear probe: the head alone, fitted on frozen features by a solver instead of thousands of small steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Probe:
    """``weight`` [labels, hidden] and ``bias`` [labels], float32. ``accuracy`` and ``loss`` are of validation."""

    weight: Array
    bias: Array
    l2: float
    accuracy: float
    loss: float
    iterations: int


def fit(
    features: Array,
    targets: Array,
    validation: tuple[Array, Array],
    *,
    labels: int,
    strengths: Sequence[float],
    max_iterations: int,
) -> Probe:
    """Multinomial logistic regression; the strength that is best on validation, the larger one on a tie.

    Minimises mean cross-entropy + l2/2 · ‖weight‖² with L-BFGS, from the strongest penalty down, each warm-started by
    the one before. (scikit-learn's C is 1 / (l2 · rows).)

    Args:
        features: [rows, hidden] float32. targets: [rows] int.
        validation: the same of the validation rows.
    """
    x, y = torch.from_numpy(features), torch.from_numpy(targets)
    start = np.zeros(labels * (features.shape[1] + 1), dtype=np.float64)
    best: Probe | None = None
    for l2 in sorted(strengths, reverse=True):
        solved = minimize(
            _objective, start, args=(x, y, labels, l2), jac=True, method="L-BFGS-B",
            options={"maxiter": max_iterations, "maxcor": 20, "ftol": 1e-9, "gtol": 1e-6},
        )  # fmt: skip
        start = solved.x
        weight, bias = _unpack(solved.x, labels, features.shape[1])
        accuracy, loss = score(weight, bias, *validation)
        found = Probe(weight, bias, l2, accuracy, loss, int(solved.nit))
        if best is None or (found.accuracy, -found.loss) > (best.accuracy, -best.loss):
            best = found
    assert best is not None, "at least one strength: the config demands it"
    return best


def score(weight: Array, bias: Array, features: Array, targets: Array) -> tuple[float, float]:
    """Accuracy and mean cross-entropy."""
    logits = torch.from_numpy(features) @ torch.from_numpy(weight).T + torch.from_numpy(bias)
    y = torch.from_numpy(targets)
    accuracy = float((logits.argmax(1) == y).double().mean())
    return accuracy, float(torch.nn.functional.cross_entropy(logits.double(), y))


def _objective(flat: Array, x: torch.Tensor, y: torch.Tensor, labels: int, l2: float) -> tuple[float, Array]:
    weight, bias = (torch.from_numpy(part) for part in _unpack(flat, labels, x.shape[1]))
    logits = x @ weight.T + bias
    log_probabilities = torch.log_softmax(logits.double(), dim=1)
    rows = len(y)
    loss = -log_probabilities[torch.arange(rows), y].mean() + 0.5 * l2 * weight.double().square().sum()
    error = log_probabilities.exp()
    error[torch.arange(rows), y] -= 1.0
    error = (error / rows).float()
    gradient = torch.cat([(error.T @ x + l2 * weight).flatten(), error.sum(0)])
    return float(loss), gradient.double().numpy()


def _unpack(flat: Array, labels: int, hidden: int) -> tuple[Array, Array]:
    weight = flat[: labels * hidden].reshape(labels, hidden).astype(np.float32)
    return weight, flat[labels * hidden :].astype(np.float32)
