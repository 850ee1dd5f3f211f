"""What the engine is told, as plain values: it never sees params.yaml."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from finetide.layers.policies import Policy
from finetide.task import Examples

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Data:
    """Labelled rows. ``weights``: [training rows], how much each counts in the loss, None where all count alike.
    ``inputs``: training and validation rows, labelled or not, by the name under which phases that
    need no labels ask for them (`TuneSpec.rows`)."""

    train: Examples
    validation: Examples
    inputs: Mapping[str, tuple[Examples, Examples]] = field(default_factory=dict)
    weights: Array | None = None

    @cached_property
    def repeated(self) -> list[int]:
        """Positions of the training rows whose inputs occur more than once among them."""
        inputs = list(self.train.identities())
        counted = Counter(inputs)
        return [place for place, item in enumerate(inputs) if counted[item] > 1]


@dataclass(frozen=True)
class ProbeSpec:
    strengths: tuple[float, ...]
    max_iterations: int


@dataclass(frozen=True)
class TuneSpec:
    """Exactly one of ``epochs`` and ``steps`` is given. ``objective``: None is the task's own loss; another one is
    trained on ``Data.inputs[rows]``. ``decisions``: what was decided before the phase began, one line each.
    ``remember``: of how many evaluations, the best ones, the weights are kept for a soup. ``checked``: an adapt phase's
    weights are handed on only if a probe on them is better on validation than one on the weights before. ``hint``:
    early or late blocks, which ``auto`` takes among layers that are alike on validation."""

    policy: Policy
    epochs: int | None
    steps: int | None
    learning_rate: float
    schedule: str
    warmup_share: float
    weight_decay: float
    max_gradient_norm: float
    patience: int
    evaluations_per_epoch: int
    overfit_gap: float | None = None
    objective: str | None = None
    rows: str | None = None
    decisions: tuple[str, ...] = ()
    remember: int = 0
    checked: bool = False
    hint: str | None = None

    @property
    def kind(self) -> str:
        return "tune" if self.objective is None else "adapt"

    def total_steps(self, steps_per_epoch: int) -> int:
        return self.steps if self.steps is not None else (self.epochs or 0) * steps_per_epoch


@dataclass(frozen=True)
class AverageSpec:
    """``between``: indices of two phases; ``shares`` of the second one's weights."""

    between: tuple[int, int]
    shares: tuple[float, ...]


@dataclass(frozen=True)
class SoupSpec:
    """``of``: index of the tune phase whose ``size`` best checkpoints are mixed."""

    of: int
    size: int


PhaseSpec = ProbeSpec | TuneSpec | AverageSpec | SoupSpec


@dataclass(frozen=True)
class Settings:
    """``feature_cache``: folder for embeddings of frozen models, ``prefix_cache``: for activations of frozen prefixes,
    which may take ``prefix_cache_gib`` of disk; or None. ``packing``: auto, always or never."""

    seed: int
    batch_rows: int
    batch_tokens: int
    precision: str
    checkpoint_every_steps: int
    feature_cache: Path | None
    prefix_cache: Path | None = None
    prefix_cache_gib: float = 0.0
    packing: str = "never"


@dataclass(frozen=True)
class Score:
    """On the validation rows. Better is a higher accuracy, then a lower loss."""

    accuracy: float
    loss: float

    def beats(self, other: Score | None) -> bool:
        return other is None or (self.accuracy, -self.loss) > (other.accuracy, -other.loss)


@dataclass(frozen=True)
class PhaseResult:
    """What a phase handed on; ``decisions`` are lines for a person. The ``score`` of an "adapt" phase is its own
    objective's, and compares with no other phase's."""

    kind: str
    steps: int
    epochs: float
    rows_seen: int
    trainable: int
    frozen: int
    score: Score
    decisions: tuple[str, ...]


@dataclass(frozen=True)
class CurveRow:
    """``train_loss`` is a mean over the steps since the row before, with dropout. ``sample_loss`` and
    ``sample_accuracy`` are of a fixed sample of training rows, measured as validation is; ``gap`` is by how much the
    sample's accuracy exceeds that of validation. ``validation_ece``: see `finetide.metrics.calibration`; None in a
    phase that learns no labels. ``repeated_loss``: of training rows that occur more than once, measured as the sample
    is; None where there are hardly any."""

    step: int
    epoch: float
    phase: int
    train_loss: float | None
    validation_loss: float
    validation_accuracy: float
    learning_rate: float
    sample_loss: float
    sample_accuracy: float
    gap: float
    validation_ece: float | None
    repeated_loss: float | None


def steps_per_epoch(rows: int, batch_rows: int) -> int:
    return -(-rows // batch_rows)


def evaluation_steps(total: int, per_epoch: int, evaluations: int) -> frozenset[int]:
    """Steps (counted from 1) after which validation is scored: evenly in each epoch, and the last one."""
    every = max(1, per_epoch // evaluations)
    inside: Sequence[int] = [
        epoch * per_epoch + min(per_epoch, every * part)
        for epoch in range(-(-total // per_epoch))
        for part in range(1, evaluations + 1)
    ]
    # The last evaluation of an epoch is at its end, also when the epoch is not divisible.
    ends = [per_epoch * epoch for epoch in range(1, total // per_epoch + 1)]
    skipped = {epoch * per_epoch + every * evaluations for epoch in range(-(-total // per_epoch))} - set(ends)
    return frozenset({step for step in inside if step <= total and step not in skipped} | set(ends) | {total})
