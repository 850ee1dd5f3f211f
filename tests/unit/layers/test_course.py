"""Courses: what thaws when, what freezes when, and that a block which moves on is left alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from finetide.errors import ConfigError
from finetide.layers.course import Course, Gradual, Progressive, course
from finetide.layers.policies import Named
from finetide.layers.structure import read
from support.micro import FAMILIES, micro_base
from unit.engine.test_loop import build


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> nn.Module:
    folder = tmp_path_factory.mktemp("course") / "b"
    micro_base(folder, layers=3)
    return build(folder)[0].module


def trainable(made: Course) -> set[str]:
    return set(made.plan.trainable)


def test_gradual_thaws_evenly_from_the_top(module: nn.Module) -> None:
    made = course(Named("gradual", 0.5), module, 80, where="here")
    found = read(module)
    assert trainable(made) == {*found.head, *found.above}
    said = {step: line for step in range(80) if (line := made.before(step))}
    assert said == {
        8: "block 2 of 3: learns from here on",
        16: "block 1 of 3: learns from here on",
        24: "block 0 of 3: learns from here on",
        32: "below the blocks: learns from here on",
    }
    assert not made.plan.frozen
    assert (made.since, made.until) == (32, 80)


def test_a_short_phase_thaws_several_at_once_and_all_in_the_end(module: nn.Module) -> None:
    made = course(Named("gradual", 1.0), module, 2, where="here")
    lines = [made.before(step) for step in range(2)]
    assert lines[:2] == ["", "block 2 of 3, block 1 of 3, block 0 of 3, below the blocks: learns from here on"]
    assert not made.plan.frozen


@pytest.mark.parametrize("at", range(0, 80, 7))
def test_gradual_goes_on_from_its_state(module: nn.Module, at: int) -> None:
    one, other = (course(Named("gradual", 0.5), module, 80, where="here") for _ in range(2))
    for step in range(at):
        one.before(step)
    other.restore({}, one.state()[1])
    assert (other.plan, other.since, other.until, other.learned) == (one.plan, one.since, one.until, one.learned)


def move(module: nn.Module, names: Any, by: float) -> None:
    parameters = dict(module.named_parameters())
    with torch.no_grad():
        for name in names:
            parameters[name].mul_(1 + by)


def test_progressive_freezes_from_below_what_has_stopped(module: nn.Module) -> None:
    made = course(Named("progressive", 0.5), module, 100, where="here")
    found = read(module)
    everything = [found.below, *found.blocks]
    for names in everything:
        move(module, names, 0.1)
    assert made.after_evaluation(10, 10.0) == ""  # the first way is the highest speed
    move(module, found.below, 0.01)
    move(module, found.blocks[0], 0.09)
    move(module, found.blocks[1], 0.01)  # has stopped too, yet what lies below it still moves
    move(module, found.blocks[2], 0.09)
    assert made.after_evaluation(20, 20.0) == "below the blocks (speed 10% of its highest): frozen from here on"
    assert set(made.plan.frozen) == set(found.below)
    move(module, found.blocks[0], 0.01)
    move(module, found.blocks[1], 0.01)
    assert "block 0 of 3" in (said := made.after_evaluation(30, 30.0))
    assert "block 1 of 3" in said
    assert made.after_evaluation(40, 40.0) == ""  # the top block has stopped, and is never frozen
    assert set(found.blocks[2]) <= trainable(made)
    assert made.learned == {name for name, _ in module.named_parameters()}


def test_a_falling_rate_alone_freezes_nothing(module: nn.Module) -> None:
    made = course(Named("progressive", 0.5), module, 100, where="here")
    found = read(module)
    rates = 0.0
    for rate in (1.0, 0.5, 0.1, 0.01):
        for names in (found.below, *found.blocks):
            move(module, names, 0.01 * rate)
        rates += rate
        assert made.after_evaluation(1, rates) == ""


def test_progressive_goes_on_from_its_state(module: nn.Module) -> None:
    one = course(Named("progressive", 0.5), module, 100, where="here")
    found = read(module)
    move(module, [name for name, _ in module.named_parameters()], 0.1)
    one.after_evaluation(10, 10.0)
    move(module, found.blocks[2], 0.1)
    one.after_evaluation(20, 20.0)
    other = course(Named("progressive", 0.5), module, 100, where="here")
    tensors, state = one.state()
    other.restore(tensors, state)
    for made in (one, other):
        assert isinstance(made, Progressive)
    move(module, found.blocks[2], 0.001)
    assert one.after_evaluation(30, 30.0) == other.after_evaluation(30, 30.0)
    assert (one.plan, one.since, one.learned) == (other.plan, other.since, other.learned)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", ["gradual", "progressive"])
def test_every_family_has_groups_that_hold_each_parameter_once(family: str, name: str, tmp_path: Path) -> None:
    micro_base(tmp_path / "base", layers=2, family=family)
    module = build(tmp_path / "base")[0].module
    made = course(Named(name, 0.5), module, 40, where="here")
    assert isinstance(made, Gradual | Progressive)
    every = sorted(name for name, _ in module.named_parameters())
    for step in range(41):
        made.before(step)
        assert sorted([*made.plan.frozen, *made.plan.trainable]) == every
    assert len(made.titles) == 3


def test_a_model_without_blocks_has_no_course() -> None:
    plain = nn.ModuleDict({"body": nn.Linear(3, 3), "head": nn.Linear(3, 2)})
    with pytest.raises(ConfigError, match="it needs a stack of blocks"):
        course(Named("gradual", 0.5), plain, 10, where="here")
