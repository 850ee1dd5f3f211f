"""pooler.json beside a model's weights: how its features are made, where it is not the family's own way."""

from __future__ import annotations

from typing import Literal

from finetide.contracts.base import Contract

FILE = "pooler.json"


class Pooler(Contract):
    """Features as a model adopted from elsewhere makes them; they are not brought to one length.

    ``pooling``: of token vectors; null where every token has features of its own. ``patches``: the mean of all vectors
    but the first stands behind the pooled one. ``dense``: a linear layer of that size follows, ``bias`` with one;
    ``activation``: what follows it, by its name in transformers. ``norm``: epsilon of a layer norm after that, or null;
    ``norm_bias``: whether it has one.
    """

    schema_version: Literal[1] = 1
    pooling: Literal["mean", "cls"] | None
    patches: bool = False
    dense: bool = False
    bias: bool = True
    activation: str | None = None
    norm: float | None = None
    norm_bias: bool = True
