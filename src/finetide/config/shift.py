"""params.yaml: models.MODEL.shift"""

from __future__ import annotations

from pydantic import Field

from finetide.config.base import PositiveInt, Section, Share


class ShiftParams(Section):
    alpha: Share = Field(description="promised false-alarm rate of the combined test")
    permutations: PositiveInt = Field(description="draws of the null distribution; the smallest p is 1/(n+1)")
    max_rows: PositiveInt = Field(description="rows a side that are compared; more are sampled by content hash")
    min_rows: PositiveInt = Field(description="fewer incoming rows than this: cannot-tell")
    harmless_auc: Share = Field(description="a significant shift with a domain AUC below this is harmless")
    halt_auc: Share = Field(description="a domain AUC from this on halts when too few incoming rows are labelled")
    min_labelled_share: Share = Field(description="share of labelled incoming rows below which halt_auc applies")
