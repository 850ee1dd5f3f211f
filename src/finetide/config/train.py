"""params.yaml: models.MODEL.train"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from finetide.config.base import NotNegative, Positive, PositiveInt, Section, Share


class LayerRule(Section):
    """One rule of a layer policy. The first rule whose pattern matches a parameter's name decides."""

    match: str = Field(min_length=1, description="regular expression, searched in the parameter's full name")
    lr: NotNegative | Literal["frozen"] = Field(description="multiplier of the phase's learning rate, or frozen")


class Duration(Section):
    """Exactly one unit."""

    epochs: PositiveInt | None
    steps: PositiveInt | None

    @model_validator(mode="after")
    def _one_unit(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give exactly one of epochs and steps, and null for the other")
        return self


class ProbePhase(Section):
    """Fit the head alone on frozen features, with a solver."""

    kind: Literal["probe"]
    l2: list[Positive] = Field(min_length=1, description="strengths of the L2 penalty to try; validation chooses")
    max_iterations: PositiveInt = Field(description="limit of the L-BFGS solver")


class TunePhase(Section):
    """Gradient descent with a layer policy."""

    kind: Literal["tune"]
    layers: list[LayerRule] = Field(min_length=1, description="ordered rules; every parameter must be covered")
    duration: Duration
    learning_rate: Positive
    schedule: Literal["constant", "linear", "cosine"]
    warmup_share: Share = Field(description="share of the steps in which the rate rises from 0")
    weight_decay: NotNegative
    max_gradient_norm: Positive
    patience: PositiveInt = Field(description="evaluations without a better validation metric before the phase ends")
    evaluations_per_epoch: PositiveInt


Phase = Annotated[ProbePhase | TunePhase, Field(discriminator="kind")]


class TrainParams(Section):
    start: Literal["base", "champion"] = Field(description="weights that a retraining starts from")
    max_length: Annotated[int, Field(ge=8, le=8192)] = Field(description="tokens kept of a text")
    pooling: Literal["mean", "cls"]
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(description="before the head, while training")
    batch_rows: PositiveInt = Field(description="rows an optimizer step")
    batch_tokens: PositiveInt = Field(description="padded tokens a forward pass; larger batches are accumulated")
    precision: Literal["auto", "fp32", "bf16"]
    replay: Share = Field(description="share of the reference training rows that are mixed with the incoming ones")
    checkpoint_every_steps: PositiveInt
    phases: list[Phase] = Field(min_length=1)
