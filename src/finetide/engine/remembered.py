"""The weights at a phase's best evaluations, for a soup that is made of them later."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from finetide.engine import checkpoint
from finetide.engine.specs import Score

State = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Remembered:
    """The weights at an evaluation."""

    step: int
    score: Score
    state: State


class Memory:
    """At most ``size`` evaluations, best first; of equal ones the earlier."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.best: list[Remembered] = []

    def add(self, step: int, score: Score, weights: Callable[[], State]) -> None:
        """Args: weights: makes a copy; called only where it is kept."""
        place = sum(not score.beats(one.score) for one in self.best)
        if place < self.size:
            self.best.insert(place, Remembered(step, score, weights()))
            del self.best[self.size :]


def told(remembered: Sequence[Remembered]) -> list[dict[str, Any]]:
    """All but the weights, for a checkpoint's JSON."""
    return [{"step": one.step, "score": asdict(one.score)} for one in remembered]


def pack(prefix: str, remembered: Sequence[Remembered], initial: State) -> State:
    """The weights, for a checkpoint's tensors."""
    tensors: State = {}
    for place, one in enumerate(remembered):
        tensors |= checkpoint.pack(f"{prefix} {place}", checkpoint.delta(one.state, initial))
    return tensors


def unpack(prefix: str, entries: Sequence[Mapping[str, Any]], tensors: State, initial: State) -> list[Remembered]:
    """The counterpart of `told` and `pack`."""
    return [
        Remembered(
            entry["step"], Score(**entry["score"]), {**initial, **checkpoint.unpack(f"{prefix} {place}", tensors)}
        )
        for place, entry in enumerate(entries)
    ]
