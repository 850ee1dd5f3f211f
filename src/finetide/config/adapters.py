"""Adapters in a layer policy: ``{lora: …}``, ``{rslora: …}``, ``{dora: …}``, and the same keys of a rule."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from finetide.config.base import Positive, PositiveInt, Section

ALPHA = "what an adapter adds is multiplied by alpha / rank (rslora: alpha / √rank)"
RANK = "inner side of an adapter's two matrices; more can learn more"
DROPOUT = "of an adapter's input, while training"
Dropout = Annotated[float, Field(ge=0.0, lt=1.0, allow_inf_nan=False)]


def a_pattern(value: str) -> str:
    """Raises: ValueError for what is no regular expression."""
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from error
    return value


def _kind_of_targets(value: Any) -> str | None:
    if isinstance(value, list):
        return "policy-patterns"
    return "policy-word" if value in ("attention", "linear") else None


Targets = Annotated[
    Annotated[Literal["attention", "linear"], Tag("policy-word")]
    | Annotated[
        list[Annotated[str, Field(min_length=1), AfterValidator(a_pattern)]],
        Field(min_length=1),
        Tag("policy-patterns"),
    ],
    Discriminator(
        _kind_of_targets,
        custom_error_type="adapter_targets",
        custom_error_message="must be attention, linear, or a list of regular expressions over layers' names",
    ),
]


class AdapterOfRule(Section):
    """Two thin matrices that learn beside each weight of a linear layer that the rule takes."""

    rank: PositiveInt = Field(description=RANK)
    alpha: Positive = Field(description=ALPHA)
    dropout: Dropout = Field(description=DROPOUT)


class AdapterOfLayers(Section):
    """The same beside the layers that ``targets`` names."""

    rank: PositiveInt = Field(description=RANK)
    alpha: Positive = Field(description=ALPHA)
    dropout: Dropout = Field(description=DROPOUT)
    targets: Targets = Field(
        description="linear layers of the blocks that get one: attention, linear (all), or regular expressions,"
        " searched in the names of all linear layers"
    )


class Lora(Section):
    """Adapters and the head; the rest is frozen."""

    lora: AdapterOfLayers


class RsLora(Section):
    """As lora, scaled so that a high rank learns as fast."""

    rslora: AdapterOfLayers


class Dora(Section):
    """As lora, and the lengths of the merged weight's rows are learned too."""

    dora: AdapterOfLayers


AdapterPolicy = Lora | RsLora | Dora
