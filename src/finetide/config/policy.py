"""params.yaml: models.MODEL.policy. No stage reads it: it decides between gate and train, outside the graph."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from finetide.config.base import NotNegative, Positive, PositiveInt, Section, Share


class PolicyParams(Section):
    retrain_on: list[Literal["none", "harmless", "adapt", "cannot-tell", "halt"]] = Field(
        min_length=1,
        description="shift verdicts that are worth a retraining when a champion is in service; on another verdict the "
        "incoming rows are acknowledged instead (halt applies after an approval)",
    )
    every_days: Positive | None = Field(
        description="so many days after the last retraining one is due on whatever has arrived, unless it is harmless; "
        "null: only shift verdict and loss decide"
    )
    max_loss: Share | None = Field(
        description="accuracy that the champion may lose on incoming rows against reference rows, by their labels or "
        "by a trusted estimate; beyond it a retraining is due at once; null: not looked at"
    )
    min_new_labels: PositiveInt = Field(
        description="fewer labelled incoming rows wait for more; a correction without training needs none"
    )
    cool_down_days: NotNegative = Field(description="days after a retraining in which rows wait; 0: none")
    min_gain_per_minute: Positive | None = Field(
        description="accuracy that the last three retrainings gained for each minute that their stages ran; where it "
        "is less, rows wait until a retraining is due by every_days or max_loss; null: not looked at"
    )

    ask_before: list[Literal["first", "loss"]] = Field(
        description="promotions that wait for a person (`finetide approve`, or the form of a scheduled run): `first`, "
        "where there is no champion; `loss`, where the metric is lower than the champion's, within the margin; []: none"
    )

    @model_validator(mode="after")
    def _due_after_the_cool_down(self) -> Self:
        if self.every_days is not None and self.every_days < self.cool_down_days:
            raise ValueError(
                f"every_days {self.every_days:g} is within cool_down_days {self.cool_down_days:g}: what is due waits"
            )
        return self

    @model_validator(mode="after")
    def _waits_for_something(self) -> Self:
        if self.min_gain_per_minute is not None and self.every_days is None and self.max_loss is None:
            raise ValueError("min_gain_per_minute lets rows wait until every_days or max_loss; give one of them")
        return self
