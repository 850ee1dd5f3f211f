"""Averaging, kept only if better: weights on the line between two phases' results (Wortsman et al. 2022, WiSE-FT), or
the mean of a phase's best checkpoints (Wortsman et al. 2022, model soups)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from finetide.engine import overfit
from finetide.engine.progress import Curve
from finetide.engine.remembered import Remembered
from finetide.engine.specs import AverageSpec, Data, PhaseResult, Score, Settings, SoupSpec
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
    names = " and ".join(str(place + 1) for place in spec.between)
    tried = ", ".join(f"{share:g}: {_said(score)}" for share, score in scores.items())
    better = f"{best:g} is kept" if best not in ends else "no mixture is better than both: none is kept"
    decisions = (f"between the weights of phases {names}, by the share of the second: {tried}", better)
    changed = sum(value.numel() for name, value in second.items() if not torch.equal(value, first[name]))
    return _ended("average", task, built, data, settings, curve, state, index, changed, scores[best], decisions), state


def soup(
    task: Task,
    built: Built,
    data: Data,
    spec: SoupSpec,
    settings: Settings,
    curve: Curve,
    remembered: Sequence[Remembered],
    index: int,
) -> tuple[PhaseResult, State]:
    """The greedy soup: from the best checkpoint on, each next one goes in if the mean is then better on validation.

    Args:
        remembered: of the phase, best first, at least one.

    Returns:
        The soup; with a decision that says so, the best checkpoint where nothing improves it.
    """
    remembered = remembered[: spec.size]
    inside, best = [remembered[0]], remembered[0].score
    lines = [f"of phase {spec.of + 1}, the checkpoint at step {inside[0].step} is the best: {_said(best)}"]
    for one in remembered[1:]:
        built.module.load_state_dict(mean([other.state for other in (*inside, one)]))
        score = evaluate(task, built, data.validation, settings)
        goes_in = score.beats(best)
        lines.append(
            f"with step {one.step} ({_said(one.score)}): {_said(score)}, {'goes in' if goes_in else 'left out'}"
        )
        if goes_in:
            inside.append(one)
            best = score
    state = mean([one.state for one in inside])
    lines.append(
        f"the mean of {len(inside)} checkpoints is kept" if len(inside) > 1 else "no mean is better than the best alone"
    )
    changed = sum(
        value.numel() for name, value in state.items() if any(not torch.equal(value, one.state[name]) for one in inside)
    )
    return _ended("soup", task, built, data, settings, curve, state, index, changed, best, tuple(lines)), state


def _said(score: Score) -> str:
    return f"{score.accuracy:.1%}, loss {score.loss:.4f}"


def _ended(
    kind: str, task: Task, built: Built, data: Data, settings: Settings, curve: Curve, state: State, index: int,
    changed: int, score: Score, decisions: tuple[str, ...],
) -> PhaseResult:  # fmt: skip
    """Measure ``state`` for the curve. Args: changed: values of the model in which what was averaged differs."""
    step = curve.rows[-1].step if curve.rows else 0
    built.module.load_state_dict(state)
    measured = overfit.measure(task, built, data, settings)
    curve.add(measured.row(step=step, epoch=0.0, phase=index, train_loss=None, learning_rate=0.0))
    total = sum(value.numel() for value in state.values())
    return PhaseResult(kind, 0, 0.0, 0, changed, total - changed, score, decisions)


def mean(states: Sequence[State]) -> State:
    """Of all, in float64. What is equal in all, or no real number, stays as the first has it, to the bit."""
    made = {}
    for name, value in states[0].items():
        others = [state[name] for state in states[1:]]
        if not value.is_floating_point() or all(torch.equal(value, other) for other in others):
            made[name] = value.clone()
        else:
            made[name] = torch.stack([value.double(), *(other.double() for other in others)]).mean(0).to(value.dtype)
    return made


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
