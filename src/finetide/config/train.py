"""params.yaml: models.MODEL.train"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    field_validator,
    model_serializer,
    model_validator,
)

from finetide.config.adapters import AdapterOfRule, Dora, Dropout, Lora, RsLora, a_pattern
from finetide.config.base import (
    BLOCKS_PATTERN,
    WORD_PATTERN,
    NotNegative,
    OpenShare,
    Positive,
    PositiveInt,
    Section,
    Share,
)

MaxLength = Annotated[int, Field(ge=8, le=8192)]
Replay = Share
Follow = Literal["auto", "off"]


class LayerRule(Section):
    """One rule of a layer policy; the first that takes a parameter decides. What is left out is no default: a rule
    without ``weight_decay`` has the phase's."""

    match: str | None = Field(None, min_length=1, description="regular expression, searched in a parameter's full name")
    blocks: str | None = Field(
        None,
        pattern=BLOCKS_PATTERN,
        description='instead of match: blocks by number from below, in quotes: "0-3", "5", or "-2--1", the last two',
    )
    lr: Positive | Literal["frozen"] = Field(description="multiplier of the phase's learning rate, or frozen")
    weight_decay: NotNegative | None = Field(None, description="of AdamW for this rule; left out: the phase's")
    lora: AdapterOfRule | None = Field(
        None, description="what the rule takes is frozen, and such adapters learn beside its linear layers"
    )
    rslora: AdapterOfRule | None = Field(None, description="instead of lora: scaled so that a high rank learns as fast")
    dora: AdapterOfRule | None = Field(None, description="instead of lora: the lengths of the rows are learned too")

    def adapter(self) -> tuple[str, AdapterOfRule] | None:
        """The kind and the settings of what stands beside the rule's linear layers."""
        kinds = {"lora": self.lora, "rslora": self.rslora, "dora": self.dora}
        return next(((kind, found) for kind, found in kinds.items() if found is not None), None)

    @model_validator(mode="after")
    def _one_selector(self) -> Self:
        if (self.match is None) == (self.blocks is None):
            raise ValueError("give exactly one of match and blocks")
        return self

    @model_validator(mode="after")
    def _one_adapter_that_learns(self) -> Self:
        if sum(found is not None for found in (self.lora, self.rslora, self.dora)) > 1:
            raise ValueError("give at most one of lora, rslora and dora")
        if self.adapter() and self.lr == "frozen":
            raise ValueError("an adapter that is frozen learns nothing; lr is the adapter's, give it a number")
        return self

    @model_serializer(mode="wrap")
    def _as_written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if value is not None}

    @field_validator("match")
    @classmethod
    def _is_a_pattern(cls, value: str | None) -> str | None:
        return None if value is None else a_pattern(value)

    @field_validator("lr", mode="before")
    @classmethod
    def _a_rate(cls, value: object) -> object:
        if value == "frozen":
            return value
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise ValueError("must be a number above 0, or frozen")
        if value == 0:
            raise ValueError("0 is not frozen: the optimizer would still decay it; write lr: frozen")
        return value


class LastBlocks(Section):
    """The top blocks, what stands above them, and the head; the rest is frozen."""

    last: PositiveInt = Field(description="so many blocks")


class LayerwiseDecay(Section):
    """Every block learns slower than the one above it."""

    layerwise_decay: OpenShare = Field(description="factor from a block to the one below it")


class Gradual(Section):
    """The head learns alone at first, then one block after the other from the top."""

    gradual: Annotated[float, Field(gt=0.0, le=1.0, allow_inf_nan=False)] = Field(
        description="share of the phase's steps after which everything learns"
    )


class Auto(Section):
    """Which layers is found out from the data, in short runs against each other."""

    auto: PositiveInt = Field(description="optimizer steps that the short runs may take together")


class Progressive(Section):
    """Everything learns at first; from the bottom, what has stopped moving is frozen."""

    progressive: OpenShare = Field(
        description="a block has stopped when its speed falls below this share of the highest it had"
    )


def _kind_of_policy(value: Any) -> str | None:
    if isinstance(value, list):
        return "policy-rules"
    if isinstance(value, str):
        return "policy-name" if value in NAMED_POLICIES else None
    for kind, model in BY_KEY.items():
        if isinstance(value, model) or (isinstance(value, dict) and set(value) == set(model.model_fields)):
            return kind
    return None


NAMED_POLICIES = ("full", "head", "bitfit")
BY_KEY: dict[str, type[Section]] = {
    "policy-last": LastBlocks, "policy-decay": LayerwiseDecay, "policy-gradual": Gradual,
    "policy-progressive": Progressive, "policy-auto": Auto, "policy-lora": Lora, "policy-rslora": RsLora,
    "policy-dora": Dora,
}  # fmt: skip
LayerPolicy = Annotated[
    Annotated[list[LayerRule], Field(min_length=1), Tag("policy-rules")]
    | Annotated[Literal["full", "head", "bitfit"], Tag("policy-name")]
    | Annotated[LastBlocks, Tag("policy-last")]
    | Annotated[LayerwiseDecay, Tag("policy-decay")]
    | Annotated[Gradual, Tag("policy-gradual")]
    | Annotated[Progressive, Tag("policy-progressive")]
    | Annotated[Auto, Tag("policy-auto")]
    | Annotated[Lora, Tag("policy-lora")]
    | Annotated[RsLora, Tag("policy-rslora")]
    | Annotated[Dora, Tag("policy-dora")],
    Discriminator(
        _kind_of_policy,
        custom_error_type="layer_policy",
        custom_error_message="must be full, head, bitfit, {last: N}, {layerwise_decay: FACTOR}, {gradual: SHARE},"
        " {progressive: FACTOR}, {auto: STEPS}, {lora: …} (or rslora, dora), or a list of rules",
    ),
]


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


class DescentPhase(Section):
    """What every phase of gradient descent has."""

    layers: LayerPolicy = Field(
        description="which layers learn: full, head, bitfit, {last: N}, {layerwise_decay: FACTOR}, {gradual: SHARE},"
        " {progressive: FACTOR}, {auto: STEPS}, {lora: …}, {rslora: …}, {dora: …}, or ordered rules that cover every"
        " parameter"
    )
    duration: Duration
    learning_rate: Positive = Field(description="of AdamW at its peak; rules multiply it")
    schedule: Literal["constant", "linear", "cosine"] = Field(description="how the rate falls after the warm-up")
    warmup_share: Share = Field(description="share of the steps in which the rate rises from 0")
    weight_decay: NotNegative = Field(description="of AdamW; biases and norms are never decayed")
    max_gradient_norm: Positive = Field(description="gradients are clipped to this global norm")
    patience: PositiveInt = Field(
        description="evaluations in a row that end the phase when none has a better validation metric than before, and"
        " none a lower validation loss"
    )
    evaluations_per_epoch: PositiveInt = Field(description="validations in each epoch, evenly spaced")
    overfit_gap: OpenShare | None = Field(
        description="the phase ends when accuracy on training rows exceeds that on validation by more than this, and"
        " validation loss is above its lowest, at two evaluations in a row without a better one; null: never"
    )


class TunePhase(DescentPhase):
    """Gradient descent with a layer policy."""

    kind: Literal["tune"] = Field(description="gradient descent with a layer policy")


class AdaptPhase(DescentPhase):
    """Gradient descent on texts without labels, before the labels are learned."""

    kind: Literal["adapt"] = Field(description="training on the rows' inputs alone, to know the domain first")
    objective: Literal["masked-language"] = Field(description="masked-language: guess words that are masked")
    rows: Literal["incoming", "all"] = Field(description="of which role, with a label or without")

    @field_validator("layers")
    @classmethod
    def _not_auto(cls, layers: LayerPolicy) -> LayerPolicy:
        if isinstance(layers, Auto):
            raise ValueError("auto compares by labels, and an adapt phase has none; name a policy")
        return layers


class AveragePhase(Section):
    """Mix the weights of two phases; a mixture stays only if it is better on validation than both."""

    kind: Literal["average"] = Field(description="mixtures of the weights of two phases before it")
    between: Annotated[list[PositiveInt], Field(min_length=2, max_length=2)] = Field(
        description="numbers of two earlier phases, the first phase being 1"
    )
    shares: Annotated[list[OpenShare], Field(min_length=1)] = Field(description="of the second phase's weights, to try")


class SoupPhase(Section):
    """The mean of a tune phase's best checkpoints; each stays in it only if validation is better with it."""

    kind: Literal["soup"] = Field(description="the mean of a phase's best checkpoints")
    of: PositiveInt = Field(description="number of an earlier tune phase, the first phase being 1")
    size: Annotated[int, Field(ge=2, le=10)] = Field(
        description="checkpoints to try, the phase's best; each takes as much disk as the weights that learn"
    )


Phase = Annotated[ProbePhase | TunePhase | AdaptPhase | AveragePhase | SoupPhase, Field(discriminator="kind")]
LABELLED_KINDS = ("probe", "tune")


class HeadParams(Section):
    """The layers that a task puts on top of the base."""

    hidden: list[PositiveInt] = Field(
        description="sizes of layers between features and labels, each with GELU and dropout; []: a linear head, which"
        " alone a probe phase can fit"
    )


Word = Annotated[str, Field(pattern=WORD_PATTERN)]


class LearnParams(Section):
    """What training has in every family. The properties say how a family spells what the engine asks of all."""

    start: Literal["base", "champion", "scratch"] = Field(
        description="weights that a retraining starts from; scratch: random ones in the base's architecture"
    )
    pooling: Literal["mean", "cls"] = Field(description="how token vectors become the vector that the head sees")
    dropout: Dropout = Field(description="before the head, while training")
    head: HeadParams
    max_length: int
    batch_rows: PositiveInt = Field(description="rows an optimizer step")
    precision: Literal["auto", "fp32", "bf16"] = Field(description="auto: bf16 where the machine computes in it")
    prefix_cache_gib: NotNegative = Field(
        description="disk for activations of frozen blocks, which then run once and not in every epoch; 0: none"
    )
    replay: Replay = Field(description="share of the reference training rows that are mixed with the incoming ones")
    recipe: Follow = Field(
        description="auto: training follows what the shift stage advises by the causes it found (recipe.json); off: it "
        "takes the phases as they are"
    )
    checkpoint_every_steps: PositiveInt = Field(description="a killed run loses at most this much work")
    phases: list[Phase] = Field(min_length=1, description="run in order; the best on validation is kept")

    @property
    @abstractmethod
    def batch_cost(self) -> int:
        """What a forward pass may cost, in the unit of `finetide.task.Examples.lengths`."""

    @property
    def words(self) -> tuple[str, ...]:
        """What the vocabulary gets; none without a vocabulary."""
        return ()

    @property
    def drawn(self) -> tuple[tuple[str, float], ...]:
        """How training inputs are changed at random, for `finetide.task.ModelSettings.augment`."""
        return ()

    @property
    def packs(self) -> str:
        return "never"

    @property
    def extra(self) -> dict[str, float]:
        """`finetide.task.ModelSettings.extra`."""
        return {}

    @model_validator(mode="after")
    def _recipe_can_be_followed(self) -> Self:
        if self.recipe == "auto" and self.replay == 0:
            raise ValueError("recipe: auto weighs reference rows, and replay: 0.0 leaves none; raise it, or write off")
        if self.recipe == "auto" and self.start == "scratch":
            raise ValueError(
                "recipe: auto builds on what base and champion know; with start: scratch write recipe: off"
            )
        return self

    @model_validator(mode="after")
    def _probe_fits_the_head(self) -> Self:
        if self.head.hidden and any(phase.kind == "probe" for phase in self.phases):
            raise ValueError("a probe phase fits a linear head: write head.hidden: [], or leave the phase out")
        return self

    @field_validator("phases")
    @classmethod
    def _phases_fit(cls, phases: list[Phase]) -> list[Phase]:
        kinds = [phase.kind for phase in phases]
        if not set(kinds) & set(LABELLED_KINDS):
            raise ValueError("none of the phases learns the labels; add one of kind probe or tune")
        for place, phase in enumerate(phases):
            if phase.kind == "adapt" and not set(kinds[place:]) & set(LABELLED_KINDS):
                raise ValueError(f"phase {place + 1} adapts, and no phase after it learns from that; move it up")
            if isinstance(phase, SoupPhase) and (phase.of > place or kinds[phase.of - 1] != "tune"):
                raise ValueError(f"phase {place + 1} is a soup of phase {phase.of}; name a tune phase before it")
            if not isinstance(phase, AveragePhase):
                continue
            first, second = phase.between
            if not (0 < first <= place and 0 < second <= place and first != second):
                raise ValueError(
                    f"phase {place + 1} averages phases {first} and {second}; name two different ones before it"
                )
            if "adapt" in (kinds[first - 1], kinds[second - 1]):
                raise ValueError(f"phase {place + 1} averages an adapt phase, which has learned no labels")
        return phases


class TrainParams(LearnParams):
    max_length: MaxLength = Field(description="tokens kept of a text")
    tokens: list[Word] = Field(
        description="words of the domain that become one token each; their vectors start as the mean of their pieces'"
    )
    batch_tokens: PositiveInt = Field(description="padded tokens a forward pass; larger batches are accumulated")
    packing: Literal["auto", "always", "never"] = Field(
        description="several texts in one row of a batch instead of padding, with the same result; auto: where it is"
        " faster"
    )

    @property
    def batch_cost(self) -> int:
        return self.batch_tokens

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(self.tokens)

    @property
    def packs(self) -> str:
        return self.packing

    @field_validator("tokens")
    @classmethod
    def _once(cls, tokens: list[str]) -> list[str]:
        twice = sorted({token for token in tokens if tokens.count(token) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} is there twice")
        return tokens
