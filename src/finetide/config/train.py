"""params.yaml: models.MODEL.train"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from finetide.config.base import NotNegative, Positive, PositiveInt, Section, Share

MaxLength = Annotated[int, Field(ge=8, le=8192)]
Replay = Share


class LayerRule(Section):
    """One rule of a layer policy. The first rule whose pattern matches a parameter's name decides."""

    match: str = Field(min_length=1, description="regular expression, searched in the parameter's full name")
    lr: NotNegative | Literal["frozen"] = Field(description="multiplier of the phase's learning rate, or frozen")

    @field_validator("match")
    @classmethod
    def _is_a_pattern(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"is no regular expression: {error}") from error
        return value

    @field_validator("lr")
    @classmethod
    def _not_zero(cls, value: float | str) -> float | str:
        if value == 0:
            raise ValueError("0 is not frozen: the optimizer would still decay it; write lr: frozen")
        return value


class Duration(Section):
    """Exactly one unit."""

    epochs: PositiveInt | None = Field(description="passes over the training rows; null when steps are given")
    steps: PositiveInt | None = Field(description="optimizer steps; null when epochs are given")

    @model_validator(mode="after")
    def _one_unit(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give exactly one of epochs and steps, and null for the other")
        return self


class ProbePhase(Section):
    """Fit the head alone on frozen features, with a solver."""

    kind: Literal["probe"] = Field(description="the head alone, by a solver")
    l2: list[Positive] = Field(
        min_length=1,
        description="strengths of the L2 penalty to try, in mean loss a row + l2/2 · ‖weights‖²; validation chooses",
    )
    max_iterations: PositiveInt = Field(description="limit of the L-BFGS solver")


class TunePhase(Section):
    """Gradient descent with a layer policy."""

    kind: Literal["tune"] = Field(description="gradient descent with a layer policy")
    layers: list[LayerRule] = Field(min_length=1, description="ordered rules; every parameter must be covered")
    duration: Duration
    learning_rate: Positive = Field(description="of AdamW at its peak; rules multiply it")
    schedule: Literal["constant", "linear", "cosine"] = Field(description="how the rate falls after the warm-up")
    warmup_share: Share = Field(description="share of the steps in which the rate rises from 0")
    weight_decay: NotNegative = Field(description="of AdamW; biases and norms are never decayed")
    max_gradient_norm: Positive = Field(description="gradients are clipped to this global norm")
    patience: PositiveInt = Field(description="evaluations without a better validation metric before the phase ends")
    evaluations_per_epoch: PositiveInt = Field(description="validations in each epoch, evenly spaced")


Phase = Annotated[ProbePhase | TunePhase, Field(discriminator="kind")]


class TrainParams(Section):
    start: Literal["base", "champion"] = Field(description="weights that a retraining starts from")
    max_length: MaxLength = Field(description="tokens kept of a text")
    pooling: Literal["mean", "cls"] = Field(description="how token vectors become the vector that the head sees")
    dropout: Annotated[float, Field(ge=0.0, lt=1.0, allow_inf_nan=False)] = Field(
        description="before the head, while training"
    )
    batch_rows: PositiveInt = Field(description="rows an optimizer step")
    batch_tokens: PositiveInt = Field(description="padded tokens a forward pass; larger batches are accumulated")
    precision: Literal["auto", "fp32", "bf16"] = Field(description="auto: bf16 where the machine computes in it")
    replay: Replay = Field(description="share of the reference training rows that are mixed with the incoming ones")
    checkpoint_every_steps: PositiveInt = Field(description="a killed run loses at most this much work")
    phases: list[Phase] = Field(min_length=1, description="run in order; the best on validation is kept")
