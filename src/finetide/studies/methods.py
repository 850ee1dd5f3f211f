"""The ways to make a model that studies compare, as phases of the engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from finetide.config.train import LearnParams
from finetide.contracts.study import Method
from finetide.engine.specs import PhaseSpec, ProbeSpec, TuneSpec
from finetide.layers.policies import Named
from finetide.stages.train import phase_specs

# Random weights need larger steps and more of them than pre-trained ones; the rate is the same whatever the phases
# have, because an adapter's or a head's says nothing of it. With few rows, an epoch is a step or two: rows are then
# repeated within an epoch until the whole has so many steps.
SCRATCH_RATE, SCRATCH_LENGTH, SCRATCH_STEPS = 3e-4, 3, 100
# Where params.yaml has no probe phase.
PROBE = ProbeSpec(strengths=(0.001, 0.003, 0.01, 0.03, 0.1), max_iterations=200)

NAMES: dict[Method, str] = {
    "tuned": "fine-tuned",
    "champion": "warm start",
    "scratch": "from scratch",
    "probe": "probe",
    "zero-shot": "zero-shot",
}
# The others are made as the family has them (`finetide.evaluation.kinds.Studying`).
MADE: dict[Method, str] = {
    "tuned": "the model's own phases (params.yaml), from the base",
    "champion": "the same phases, from the champion's weights",
    "scratch": f"the base's architecture with random weights; the tune phases with all layers learning, at a rate of "
    f"{SCRATCH_RATE:g}, {SCRATCH_LENGTH} times as long and as patient, at least {SCRATCH_STEPS} steps",
}


def phases(params: LearnParams, method: Method) -> list[PhaseSpec]:
    """What the engine runs; nothing for zero-shot, and for from scratch where there is no tune phase."""
    own = phase_specs(params)
    if method == "zero-shot":
        return []
    if method == "probe":
        return [next((phase for phase in own if isinstance(phase, ProbeSpec)), PROBE)]
    if method == "scratch":
        return [_longer(phase) for phase in own if isinstance(phase, TuneSpec) and phase.objective is None]
    return own


def repeats(specs: Sequence[PhaseSpec], rows: int, batch_rows: int) -> int:
    """How often each row comes in an epoch, so that training from scratch has its steps."""
    epochs = sum(spec.epochs or 0 for spec in specs if isinstance(spec, TuneSpec))
    if epochs == 0:
        return 1  # the phases count in steps
    steps_an_epoch = -(-SCRATCH_STEPS // epochs)
    return (steps_an_epoch - 1) * batch_rows // rows + 1


def _longer(spec: TuneSpec) -> TuneSpec:
    return replace(
        spec,
        policy=Named("full"),
        learning_rate=SCRATCH_RATE,
        epochs=spec.epochs and spec.epochs * SCRATCH_LENGTH,
        steps=spec.steps and spec.steps * SCRATCH_LENGTH,
        patience=spec.patience * SCRATCH_LENGTH,
        overfit_gap=None,  # repeated rows are learned by heart long before anything else is
    )
