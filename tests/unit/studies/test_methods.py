"""Methods as the engine's phases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from finetide.config.load import load_section
from finetide.config.train import TrainParams
from finetide.engine.specs import ProbeSpec, TuneSpec, steps_per_epoch
from finetide.layers.policies import Named
from finetide.studies.methods import PROBE, SCRATCH_STEPS, phases, repeats

ROOT = Path(__file__).parents[3]


@pytest.fixture
def params() -> TrainParams:
    return load_section(ROOT, "models.tickets.train", TrainParams)


def only(params: TrainParams, kind: str, **changes: Any) -> TrainParams:
    kept = [phase.model_copy(update=changes) for phase in params.phases if phase.kind == kind]
    return params.model_copy(update={"phases": kept})


def test_from_scratch_learns_everything_for_longer_at_its_own_rate(params: TrainParams) -> None:
    (tune,) = [phase for phase in phases(params, "tuned") if isinstance(phase, TuneSpec)]
    (scratch,) = phases(params, "scratch")
    assert isinstance(scratch, TuneSpec)
    assert scratch.policy == Named("full")
    assert (scratch.learning_rate, scratch.epochs, scratch.steps) == (3e-4, 18, None)
    assert (scratch.patience, scratch.overfit_gap) == (3 * tune.patience, None)


def test_the_probe_is_the_models_own_or_the_usual_one(params: TrainParams) -> None:
    (own,) = phases(params, "probe")
    assert isinstance(own, ProbeSpec)
    assert own.max_iterations == params.phases[0].max_iterations  # type: ignore[union-attr]
    assert phases(only(params, "tune"), "probe") == [PROBE]


def test_without_a_tune_phase_nothing_is_from_scratch(params: TrainParams) -> None:
    assert phases(only(params, "probe"), "scratch") == []
    assert phases(params, "zero-shot") == []


@pytest.mark.parametrize("rows", [1, 3, 16, 20, 31, 32, 33, 100, 178, 1000])
def test_few_rows_are_repeated_until_there_are_enough_steps_and_not_more(params: TrainParams, rows: int) -> None:
    specs = phases(params, "scratch")
    (spec,) = specs
    assert isinstance(spec, TuneSpec)
    assert spec.epochs
    times = repeats(specs, rows, 32)
    assert spec.epochs * steps_per_epoch(rows * times, 32) >= SCRATCH_STEPS
    if times > 1:
        assert spec.epochs * steps_per_epoch(rows * (times - 1), 32) < SCRATCH_STEPS


def test_phases_in_steps_repeat_no_row(params: TrainParams) -> None:
    tune = params.phases[1]
    assert tune.kind == "tune"
    steps = tune.duration.model_copy(update={"epochs": None, "steps": 40})
    specs = phases(only(params, "tune", duration=steps), "scratch")
    assert repeats(specs, 3, 32) == 1
    assert isinstance(specs[0], TuneSpec)
    assert specs[0].steps == 120
