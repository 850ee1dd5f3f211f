"""What is frozen stays as it was, buffers and dropout included; each way to break it is seen."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from finetide.errors import IntegrityError
from finetide.layers.freeze import frozen


def model() -> nn.Sequential:
    torch.manual_seed(0)
    stem = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5))
    return nn.Sequential(stem, nn.Linear(8, 2))


STEM = ["0.0.weight", "0.0.bias", "0.1.weight", "0.1.bias"]


def step(net: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    net.train()
    net(torch.randn(16, 4)).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()


def test_frozen_parameters_and_statistics_are_byte_equal_after_training() -> None:
    net = model()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with frozen(net, STEM) as held:
        optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], weight_decay=0.1)
        for _ in range(5):
            step(net, optimizer)
    assert set(held.proof) == {*STEM, "0.1.running_mean", "0.1.running_var", "0.1.num_batches_tracked"}
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]) is name.startswith("0.")


def test_dropout_of_a_frozen_block_is_off_and_comes_back() -> None:
    net = model()
    with frozen(net, STEM):
        net.train()
        assert not net[0].training
        assert not net[0][2].training
        x = torch.randn(3, 4)
        assert torch.equal(net[0](x), net[0](x))
    net.train()
    assert net[0][2].training
    assert net[0][0].weight.requires_grad


def test_dropout_of_a_block_that_is_tuned_stays_on() -> None:
    net = model()
    with frozen(net, ["0.0.weight"]):
        net.train()
        assert net[0][2].training


def nudge(net: nn.Sequential) -> None:
    with torch.no_grad(), frozen(net, STEM):
        net[0][0].weight.add_(1e-6)


def move_statistics(net: nn.Sequential) -> None:
    with frozen(net, STEM):
        nn.Module.train(net[0][1])
        net[0][1](torch.randn(8, 8))


def test_a_changed_frozen_parameter_fails_the_run() -> None:
    with pytest.raises(IntegrityError, match=r"1 frozen tensors changed while training, first '0\.0\.weight'"):
        nudge(model())


def test_moving_statistics_fail_the_run() -> None:
    with pytest.raises(IntegrityError, match=r"3 frozen tensors changed while training, first '0\.1\.num_batches"):
        move_statistics(model())


def test_decay_of_what_is_frozen_fails_the_run() -> None:
    """An optimizer that was given everything decays what has no gradient (of the four, one bias is zero anyway)."""
    net = model()
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.1)

    def train() -> None:
        with frozen(net, STEM):
            for parameter in net.parameters():
                parameter.grad = torch.zeros_like(parameter)
            optimizer.step()

    with pytest.raises(IntegrityError, match="3 frozen tensors changed while training"):
        train()


def test_an_error_inside_is_not_hidden() -> None:
    net = model()
    with pytest.raises(ZeroDivisionError), frozen(net, STEM):
        raise ZeroDivisionError
    assert all(parameter.requires_grad for parameter in net.parameters())
