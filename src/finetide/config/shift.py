"""params.yaml: models.MODEL.shift"""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from finetide.config.base import OpenShare, PositiveInt, Section, Share


class ShiftParams(Section):
    alpha: OpenShare = Field(description="promised false-alarm rate of the combined test")
    permutations: PositiveInt = Field(description="draws of the null distribution; the smallest p is 1/(n+1)")
    max_rows: PositiveInt = Field(description="rows a side that are compared; more are sampled by content hash")
    min_rows: PositiveInt = Field(description="fewer incoming rows than this: cannot-tell")
    harmless_auc: Share = Field(description="a significant shift with a domain AUC below this is harmless")
    halt_auc: Share = Field(description="a domain AUC from this on halts when too few incoming rows are labelled")
    min_labelled_share: Share = Field(description="share of labelled incoming rows below which halt_auc applies")

    @model_validator(mode="after")
    def _can_be_significant(self) -> Self:
        if 1 / (self.permutations + 1) >= self.alpha:
            raise ValueError(
                f"{self.permutations} permutations cannot give a p-value below alpha {self.alpha:g}: the smallest is "
                f"1/{self.permutations + 1}; take at least {int(1 / self.alpha + 1e-9)} permutations"
            )
        return self

    @model_validator(mode="after")
    def _harmless_below_halt(self) -> Self:
        if self.harmless_auc > self.halt_auc:
            raise ValueError(f"harmless_auc {self.harmless_auc:g} must not be above halt_auc {self.halt_auc:g}")
        return self
