"""The layers that a task puts on top of a base: a linear one, or some before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

from finetide.errors import BaseModelError

# Of a head that nothing solves before the encoder learns; BERT's (Devlin et al. 2019, their code).
DEVIATION = 0.02


def make(features: int, hidden: Sequence[int], outputs: int, dropout: float) -> nn.Module:
    """A head whose last layer is zero, so that before any training every label has the same score, and the first
    gradients of a linear head are the probe's.

    Args: hidden: sizes of the layers before the last one, each with GELU and dropout; empty: a linear head.
    """
    sizes = [features, *hidden]
    made = nn.Linear(sizes[-1], outputs)
    nn.init.zeros_(made.weight)
    nn.init.zeros_(made.bias)
    if not hidden:
        return made
    parts: list[nn.Module] = []
    for one, other in pairwise(sizes):
        parts += [nn.Linear(one, other), nn.GELU(), nn.Dropout(dropout)]
    return nn.Sequential(*parts, made)


def last(head: nn.Module) -> nn.Linear:
    """The layer that gives the outputs."""
    found = head[-1] if isinstance(head, nn.Sequential) else head
    assert isinstance(found, nn.Linear)
    return found


def check(state: Mapping[str, torch.Tensor], wanted: tuple[int, ...] | None, weights: Path) -> tuple[int, ...]:
    """Sizes of the hidden layers of a saved head.

    Raises: BaseModelError: ``wanted`` has others; None wants what is there.
    """
    names = [name for name in state if name.startswith("head.") and name.endswith(".weight") and name != "head.weight"]
    ordered = sorted(names, key=lambda name: int(name.split(".")[1]))
    found = tuple(int(state[name].shape[0]) for name in ordered[:-1])
    if wanted is not None and wanted != found:
        raise BaseModelError(
            f"was trained with a head of hidden layers {list(found)}, and train.head.hidden is another",
            where=str(weights),
            found=list(wanted),
            fix="start from the base: train.start: base",
        )
    return found
