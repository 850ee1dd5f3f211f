"""Features as an adopted model makes them: what `finetide.contracts.pooler` says, as layers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn
from transformers.activations import ACT2FN

from finetide.contracts import pooler as contract
from finetide.errors import BaseModelError
from finetide.files import canonical_json
from finetide.task import ModelSettings


class Pooler(nn.Module):
    """Dense → activation → norm, each where the file says so, of vectors that are pooled already."""

    def __init__(self, size: int, said: contract.Pooler) -> None:
        super().__init__()
        self.said = said
        self.dense = nn.Linear(size, size, bias=said.bias) if said.dense else None
        self.activation = ACT2FN[said.activation] if said.activation else nn.Identity()
        self.norm = None if said.norm is None else nn.LayerNorm(size, eps=said.norm, bias=said.norm_bias)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """[…, size] → the same, float32."""
        found: torch.Tensor = vectors if self.dense is None else self.dense(vectors)
        found = self.activation(found)
        found = found if self.norm is None else self.norm(found)
        return found.float()


def make(size: int, settings: ModelSettings) -> Pooler | None:
    """None where the features are the family's own."""
    return Pooler(size, said(settings)) if settings.pooler else None


def said(settings: ModelSettings) -> contract.Pooler:
    return contract.Pooler.model_validate(json.loads(settings.pooler))


def read(weights: Path, settings: ModelSettings, *, tuned: bool) -> ModelSettings:
    """The settings with what pooler.json beside weights of ours says. Args: tuned: whether these are ours.

    Raises: BaseModelError: the settings ask for another pooling. IntegrityError: the file has another shape.
    """
    path = weights / contract.FILE
    if not tuned or not path.is_file():
        return replace(settings, pooler="")
    found = contract.Pooler.read(path)
    if found.pooling not in (None, settings.pooling):
        raise BaseModelError(
            f"was adopted with the pooling {found.pooling}, and train.pooling is another",
            where=str(weights),
            found=settings.pooling,
            fix=f"write train.pooling: {found.pooling}; or start from the base: train.start: base",
        )
    return replace(settings, pooler=canonical_json(found.model_dump(mode="json")).decode())


def write(settings: ModelSettings, folder: Path) -> None:
    if settings.pooler:
        said(settings).write(folder / contract.FILE)
