"""A linear probe: the head alone, fitted on frozen features by a solver instead of thousands of small steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

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
    weights: Array | None = None,
) -> Probe:
    """Multinomial logistic regression; the strength that is best on validation, the larger one on a tie.

    Minimises mean cross-entropy + l2/2 · ‖weight‖² (no penalty on the bias) with L-BFGS, from the strongest penalty
    down, each warm-started by the one before. The mean makes a strength mean the same whatever the number of rows:
    scikit-learn's C is 1 / (l2 · rows).

    Args:
        features: [rows, hidden] float32. targets: [rows] int.
        validation: the same of the validation rows.
        weights: [rows], how much each counts in the mean; None: all alike.
    """
    x, y = torch.from_numpy(features), torch.from_numpy(targets)
    w = None if weights is None else torch.from_numpy(np.asarray(weights, dtype=np.float32))
    flat = torch.zeros(labels * (features.shape[1] + 1), dtype=torch.float64)
    best: Probe | None = None
    for l2 in sorted(strengths, reverse=True):
        iterations = _solve(flat, x, y, labels, l2, max_iterations, w)
        weight, bias = (part.float().numpy().copy() for part in _unpack(flat, labels, x.shape[1]))
        accuracy, loss = score(weight, bias, *validation)
        found = Probe(weight, bias, l2, accuracy, loss, iterations)
        if best is None or (found.accuracy, -found.loss) > (best.accuracy, -best.loss):
            best = found
    assert best is not None, "at least one strength: the config demands it"
    return best


def out_of_fold(
    features: Array,
    targets: Array,
    folds: Array,
    others: Array,
    *,
    labels: int,
    strengths: Sequence[float],
    max_iterations: int,
    weights: Array | None = None,
) -> tuple[Array, Array]:
    """Probabilities of rows by probes that never saw them.

    Args:
        features: [rows, hidden] float32. targets, folds: [rows] int, of at least two labels and two folds; the rows of
            a fold are predicted by the probe of all others; those of fold -1 by none.
        others: [others, hidden] float32, rows of no fold: predicted by the mean of the folds' probes.
        strengths: of the L2 penalty; that with the lowest loss on the first fold is every fold's.
        weights: [rows], how much each counts beside the others; None: all alike.

    Returns: [rows, labels] and [others, labels], float64.
    """
    x, y = torch.from_numpy(features), torch.from_numpy(targets)
    found = np.zeros((len(targets), labels))
    rest = np.zeros((len(others), labels))
    present = np.unique(folds[folds >= 0])
    chosen: float | None = None
    for fold in present:
        held = folds == fold
        kept = torch.from_numpy(~held)
        counts = None if weights is None else torch.from_numpy(weights[~held] / weights[~held].mean()).float()
        best = np.inf
        flat = torch.zeros(labels * (features.shape[1] + 1), dtype=torch.float64)
        for l2 in sorted(strengths, reverse=True) if chosen is None else (chosen,):
            _solve(flat, x[kept], y[kept], labels, l2, max_iterations, counts)
            weight, bias = (part.float().numpy().copy() for part in _unpack(flat, labels, x.shape[1]))
            loss = score(weight, bias, features[held], targets[held])[1]
            if loss < best:
                best, strength = loss, l2
                found[held] = _probabilities(weight, bias, features[held])
                added = _probabilities(weight, bias, others)
        chosen = strength
        rest += added / len(present)
    return found, rest


def _probabilities(weight: Array, bias: Array, features: Array) -> Array:
    logits = torch.from_numpy(features) @ torch.from_numpy(weight).T + torch.from_numpy(bias)
    return np.asarray(torch.softmax(logits.double(), dim=1).numpy())


def score(weight: Array, bias: Array, features: Array, targets: Array) -> tuple[float, float]:
    """Accuracy and mean cross-entropy."""
    logits = torch.from_numpy(features) @ torch.from_numpy(weight).T + torch.from_numpy(bias)
    y = torch.from_numpy(targets)
    accuracy = float((logits.argmax(1) == y).double().mean())
    return accuracy, float(torch.nn.functional.cross_entropy(logits.double(), y))


def _solve(
    flat: torch.Tensor, x: torch.Tensor, y: torch.Tensor, labels: int, l2: float, limit: int,
    weights: torch.Tensor | None = None,
) -> int:  # fmt: skip
    """Minimise in place from where ``flat`` stands; returns the iterations."""
    solver = torch.optim.LBFGS(
        [flat], max_iter=limit, max_eval=2 * limit, history_size=20, tolerance_grad=1e-6, tolerance_change=1e-8,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    def closure() -> torch.Tensor:
        loss, flat.grad = _objective(flat, x, y, labels, l2, weights)
        return loss

    solver.step(closure)  # type: ignore[no-untyped-call]
    return int(solver.state[flat]["n_iter"])


def _objective(
    flat: torch.Tensor, x: torch.Tensor, y: torch.Tensor, labels: int, l2: float, weights: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Value and gradient, both float64; the products are float32, the sums float64, because the line search compares
    losses that differ in the eighth digit."""
    weight, bias = (part.float() for part in _unpack(flat, labels, x.shape[1]))
    rows = torch.arange(len(y))
    log_probabilities = torch.log_softmax(torch.addmm(bias, x, weight.T), dim=1)
    right = log_probabilities[rows, y].double()
    fit = right.mean() if weights is None else (right * weights).mean()
    loss = -fit + 0.5 * l2 * weight.double().square().sum()
    error = log_probabilities.exp_()
    error[rows, y] -= 1.0
    if weights is not None:
        error *= weights[:, None]
    error /= len(y)
    return loss, torch.cat([(error.T @ x + l2 * weight).flatten(), error.sum(0)]).double()


def _unpack(flat: torch.Tensor, labels: int, hidden: int) -> tuple[torch.Tensor, torch.Tensor]:
    return flat[: labels * hidden].reshape(labels, hidden), flat[labels * hidden :]
