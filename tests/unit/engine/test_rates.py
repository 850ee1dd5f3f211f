"""The rate test: rising rates, the steepest fall, and nothing of it left."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from finetide.engine import rates
from finetide.engine.rates import find
from finetide.errors import ConfigError
from finetide.layers.policies import Named
from support.micro import micro_base
from unit.engine.test_loop import TASK, build, run, settings, spec, weights


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rates") / "b"
    micro_base(folder)
    return folder


@pytest.mark.parametrize("policy", [Named("full"), Named("last", 1), Named("gradual", 0.5)], ids=str)
def test_it_leaves_no_trace(base: Path, tmp_path: Path, policy: Named) -> None:
    built, data = build(base)
    before, state = weights(built), torch.get_rng_state()
    flags = [value.requires_grad for value in built.module.parameters()]
    phase = spec(policy=policy)
    test = find(TASK, built, data, phase, settings(), 0, 1, steps=30)
    assert weights(built) == before
    assert torch.equal(torch.get_rng_state(), state)
    assert [value.requires_grad for value in built.module.parameters()] == flags
    assert test.rates[0] == pytest.approx(1e-6)
    ratios = {round(b / a, 6) for a, b in zip(test.rates, test.rates[1:], strict=False)}
    assert ratios == {round((1e-1 / 1e-6) ** (1 / 29), 6)}
    one = run(base, tmp_path / "one", [phase])[1]
    find(TASK, built, data, phase, settings(), 0, 1, steps=25)
    assert weights(run(base, tmp_path / "two", [phase])[1]) == weights(one)


def test_it_stops_when_the_loss_runs_away(base: Path) -> None:
    built, data = build(base)
    test = find(TASK, built, data, spec(policy=Named("full")), settings(), 0, 1, steps=60, high=1e3)
    assert len(test.rates) < 60
    assert test.best is not None
    assert test.best < test.rates[-1]


def test_the_steepest_fall_before_the_lowest_loss() -> None:
    grid = [10.0**power for power in range(-6, 2)]
    assert rates._steepest(grid, [5.0, 4.9, 4.5, 2.0, 1.0, 0.9, 3.0, 0.95]) == pytest.approx(1e-3)
    assert rates._steepest(grid, [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7]) is None
    assert rates._steepest([], []) is None


def test_few_steps_are_refused(base: Path) -> None:
    built, data = build(base)
    with pytest.raises(ConfigError, match="--steps: a rate test needs at least 20 steps"):
        find(TASK, built, data, spec(), settings(), 0, 1, steps=19)
