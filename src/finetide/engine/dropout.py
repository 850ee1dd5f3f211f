"""Masks of dropout at a third of their cost on a CPU.

torch draws 64 bits for each value there, on one thread. Here four values share them: each is dropped with the nearest
probability that 16 bits have, at most 1/131,072 from the one that was asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

LEVELS = 2**16
# Values of 16 bits in one draw of 64.
DRAWN = 4


class QuickDropout(nn.Dropout):
    """As `torch.nn.Dropout`; on a CPU with other draws from torch's global generator."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if not self.training or not 0.0 < self.p < 1.0 or input.device.type != "cpu":
            return super().forward(input)
        return input * mask(input, self.p)


def mask(like: torch.Tensor, p: float) -> torch.Tensor:
    """0 with probability ``p``, else 1 / (1 - p); of the shape and type of ``like``."""
    count = like.numel()
    drawn = torch.empty(-(-count // DRAWN), dtype=torch.int64).random_(-(2**63), None)
    bound = min(round(p * LEVELS), LEVELS - 1) - LEVELS // 2
    kept = drawn.view(torch.int16)[:count].view(like.shape) >= bound
    return kept.to(like.dtype).mul_(1.0 / (1.0 - p))


@contextmanager
def quick(module: nn.Module) -> Iterator[None]:
    """Inside, every `torch.nn.Dropout` in ``module`` draws so; its hooks, flags and names are what they were."""
    parts = [part for part in module.modules() if type(part) is nn.Dropout]
    for part in parts:
        part.__class__ = QuickDropout
    try:
        yield
    finally:
        for part in parts:
            part.__class__ = nn.Dropout
