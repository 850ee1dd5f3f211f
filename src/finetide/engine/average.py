"""Averaging: weights on the line between two phases' results (Wortsman et al. 2022, WiSE-FT), kept only if better."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from finetide.engine import overfit
from finetide.engine.progress import Curve
from finetide.engine.specs import AverageSpec, Data, PhaseResult, Score, Settings
from finetide.engine.tune import evaluate
from finetide.task import Built, Task

State = dict[str, torch.Tensor]


def average(
    task: Task,
    built: Built,
    data: Data,
    spec: AverageSpec,
    settings: Settings,
    curve: Curve,
    states: Mapping[int, State],
    index: int,
) -> tuple[PhaseResult, State]:
    """Score every mixture on validation.

    Args:
        states: phase → the weights that it handed on, of both phases in ``spec.between``.

    Returns:
        The best mixture, if it beats both ends; else the better end, with a decision that says so.
    """
    first, second = (states[place] for place in spec.between)
    ends = {0.0: first, 1.0: second}
    scores: dict[float, Score] = {}
    for share in (0.0, *spec.shares, 1.0):
        built.module.load_state_dict(ends.get(share) or mix(first, second, share))
        scores[share] = evaluate(task, built, data.validation, settings)
    best = 0.0
    for share in (1.0, *spec.shares):  # a mixture has to be better than both ends, not as good
        if scores[share].beats(scores[best]):
            best = share
    state = ends.get(best) or mix(first, second, best)
    step = curve.rows[-1].step if curve.rows else 0
    built.module.load_state_dict(state)
    measured = overfit.measure(task, built, data, settings)
    curve.add(measured.row(step=step, epoch=0.0, phase=index, train_loss=None, learning_rate=0.0))
    names = " and ".join(str(place + 1) for place in spec.between)
    tried = ", ".join(f"{share:g}: {score.accuracy:.1%}, loss {score.loss:.4f}" for share, score in scores.items())
    better = f"{best:g} is kept" if best not in ends else "no mixture is better than both: none is kept"
    changed = sum(value.numel() for name, value in second.items() if not torch.equal(value, first[name]))
    total = sum(value.numel() for value in second.values())
    decisions = (f"between the weights of phases {names}, by the share of the second: {tried}", better)
    return PhaseResult("average", 0, 0.0, 0, changed, total - changed, scores[best], decisions), state


def mix(first: State, second: State, share: float) -> State:
    """(1 − share) · first + share · second, in float64. What is equal in both, or no real number, stays to the bit."""
    made = {}
    for name, value in second.items():
        if not value.is_floating_point() or torch.equal(value, first[name]):
            made[name] = value.clone()
        else:
            mixed = (1.0 - share) * first[name].double() + share * value.double()
            made[name] = mixed.to(value.dtype)
    return made
