"""Quick masks of dropout: as many zeros as asked for, where they may be, and gone after training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from finetide.engine.dropout import QuickDropout, mask, quick


@pytest.mark.parametrize("p", [0.001, 0.1, 0.5, 0.9, 0.999999])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_as_many_are_dropped_as_was_asked_and_the_mean_stays(p: float, kind: torch.dtype) -> None:
    torch.manual_seed(3)
    count = 400_001  # no multiple of the four that share a draw
    found = mask(torch.empty(count, dtype=kind), p)
    assert (found.dtype, found.shape) == (kind, (count,))
    kept = found[found != 0]
    dropped = 1 - len(kept) / count
    assert dropped == pytest.approx(p, abs=4 * np.sqrt(p * (1 - p) / count) + 1 / 2**16)
    if len(kept):
        assert set(kept.tolist()) == {float(torch.tensor(1 / (1 - p), dtype=kind))}


def test_values_that_share_a_draw_are_dropped_apart() -> None:
    """In each of the four places as often, and a neighbour tells nothing."""
    torch.manual_seed(4)
    zeros = (mask(torch.empty(400_000), 0.3) == 0).numpy().reshape(-1, 4)
    assert zeros.mean(axis=0) == pytest.approx(np.full(4, 0.3), abs=4 * np.sqrt(0.21 / 100_000))
    between = np.corrcoef(zeros.T.astype(float))
    assert np.abs(between[~np.eye(4, dtype=bool)]).max() < 4 / np.sqrt(100_000)
    assert abs(np.corrcoef(zeros.ravel()[:-1], zeros.ravel()[1:])[0, 1]) < 4 / np.sqrt(400_000)


def test_gradients_go_where_values_went() -> None:
    layer = QuickDropout(0.4)
    given = torch.ones(5, 7, requires_grad=True)
    output = layer(given)
    output.sum().backward()
    assert given.grad is not None
    assert torch.equal(given.grad, output.detach())
    assert 0 < int((output == 0).sum()) < 35


def test_a_state_of_the_generator_gives_the_same_mask_again() -> None:
    torch.manual_seed(5)
    torch.rand(3)
    state = torch.get_rng_state()
    first = mask(torch.empty(33, 3), 0.5)
    torch.set_rng_state(state)
    assert torch.equal(mask(torch.empty(33, 3), 0.5), first)
    assert not torch.equal(mask(torch.empty(33, 3), 0.5), first)


@pytest.mark.parametrize(("p", "training"), [(0.0, True), (1.0, True), (0.5, False)])
def test_where_nothing_is_drawn_it_is_torchs_own(p: float, training: bool) -> None:
    given, state = torch.arange(6.0), torch.get_rng_state()
    layers = [kind(p).train(training) for kind in (QuickDropout, nn.Dropout)]
    assert torch.equal(layers[0](given), layers[1](given))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_model_is_quick_while_it_trains_and_plain_afterwards() -> None:
    class Own(nn.Dropout):
        """Somebody else's, who knows what it does?"""

    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.1), nn.Sequential(nn.Dropout(0.2)), Own(0.3), nn.Dropout2d(0.1))
    before = [type(part) for part in model.modules()]
    with quick(model):
        inside = [type(part) for part in model.modules()]
    assert [type(part) for part in model.modules()] == before
    assert [one is QuickDropout for one in inside] == [one is nn.Dropout for one in before]
    with pytest.raises(KeyError), quick(model):
        raise KeyError
    assert [type(part) for part in model.modules()] == before
