"""params.yaml: models.MODEL.shift"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from finetide.config.base import Positive, PositiveInt, Section, Share


class RecipeParams(Section):
    """What training does about a shift, by its causes. Followed where train.recipe is auto."""

    weight_clip: Annotated[float, Field(ge=1.0, allow_inf_nan=False)] = Field(
        description="reference rows that look like incoming ones weigh more in training: between 1/this and this; 1: "
        "all alike"
    )
    incoming_weight: Annotated[float, Field(ge=1.0, allow_inf_nan=False)] = Field(
        description="where inputs moved and labelled incoming rows are few beside the reference rows, each may count "
        "for up to this many of them in training; 1: for one"
    )
    min_overlap: Share = Field(
        description="weights are of use while the weighted reference rows count as at least this share of themselves "
        "(effective sample size); below it, labels are asked for"
    )
    rate_factor: Annotated[float, Field(gt=0.0, le=1.0, allow_inf_nan=False)] = Field(
        description="of the tune phases' learning rate where inputs moved and training starts from the champion, which "
        "is as often right on them as before"
    )
    adapt_epochs: Annotated[int, Field(ge=0)] = Field(
        description="passes over the incoming texts, labelled or not, before the labels are learned, where inputs "
        "moved; 0: none"
    )
    adapt_min_rows: PositiveInt = Field(description="fewer incoming rows than this: no such passes")
    ask_labels: PositiveInt = Field(description="rows that are asked for where labels are needed")
    forgetting_margin: Share = Field(
        description="accuracy on reference validation rows that training may lose against the champion; where one "
        "standard error of the loss still leaves more, the weights go back towards the champion's"
    )


class ShiftParams(Section):
    false_alarms_per_year: Positive = Field(
        description="windows a year that may be called shifted though nothing moved; over windows_per_year it is α, "
        "the false-alarm rate that the combined test keeps"
    )
    windows_per_year: PositiveInt = Field(description="how often new data is compared: 52 weekly, 365 daily")
    permutations: PositiveInt = Field(description="draws of the null distribution; the smallest p is 1/(n+1)")
    max_rows: PositiveInt = Field(
        description="rows a side whose features are compared; more are sampled by a hash of the row id "
        "(figures of words are of all rows)"
    )
    min_rows: PositiveInt = Field(description="fewer incoming rows than this: cannot-tell")
    harmless_auc: Share = Field(description="a significant shift with a domain AUC below this is harmless")
    halt_auc: Share = Field(description="a domain AUC from this on halts when too few incoming rows are labelled")
    min_labelled_share: Share = Field(description="share of labelled incoming rows below which halt_auc applies")
    harmless_drop: Share | None = Field(
        description="however far inputs moved, a shift is harmless if labelled incoming rows say, at 95 %, that the "
        "champion lost less accuracy than this; asked where min_labelled_share of them is labelled; null: never"
    )
    recipe: RecipeParams

    @property
    def alpha(self) -> float:
        """The false-alarm rate of one window, which the alarm budget allows."""
        return self.false_alarms_per_year / self.windows_per_year

    @model_validator(mode="after")
    def _fewer_alarms_than_windows(self) -> Self:
        if self.alpha >= 1:
            raise ValueError(
                f"false_alarms_per_year {self.false_alarms_per_year:g} must be below windows_per_year "
                f"{self.windows_per_year}: else every window may be one"
            )
        return self

    @model_validator(mode="after")
    def _can_be_significant(self) -> Self:
        if 1 / (self.permutations + 1) >= self.alpha:
            raise ValueError(
                f"{self.permutations} permutations cannot give a p-value below α = {self.alpha:.3g} "
                f"(false_alarms_per_year {self.false_alarms_per_year:g} / windows_per_year {self.windows_per_year}): "
                f"the smallest is 1/{self.permutations + 1}; take at least {int(1 / self.alpha + 1e-9)} permutations"
            )
        return self

    @model_validator(mode="after")
    def _compares_as_many_as_it_wants(self) -> Self:
        if self.max_rows < self.min_rows:
            raise ValueError(f"max_rows {self.max_rows} must not be below min_rows {self.min_rows}")
        return self

    @model_validator(mode="after")
    def _harmless_below_halt(self) -> Self:
        if self.harmless_auc > self.halt_auc:
            raise ValueError(f"harmless_auc {self.harmless_auc:g} must not be above halt_auc {self.halt_auc:g}")
        return self
