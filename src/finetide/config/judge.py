"""params.yaml: models.MODEL.judge"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from finetide.config.base import Confidence, NotNegative, PositiveInt, Section, Share


class JudgeParams(Section):
    metric: Literal["accuracy", "macro_f1"] = Field(description="what challenger and champion are compared by")
    confidence: Confidence = Field(description="coverage of the interval of the paired difference")
    non_inferiority_margin: NotNegative = Field(description="loss against the champion that is still no loss")
    slice_margin: NotNegative = Field(description="loss on one label or role that is still accepted")
    min_slice_rows: PositiveInt = Field(description="slices with fewer test rows are shown and not judged")
    floor: Share = Field(description="the metric must reach this with or without a champion")
    label_floor: Share = Field(description="recall that every judged label must reach")
    bootstrap: PositiveInt = Field(description="resamples for the interval of the difference")
