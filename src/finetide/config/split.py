"""params.yaml: models.MODEL.split"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from finetide.config.base import Section

Percent = Annotated[float, Field(gt=0.0, lt=50.0, allow_inf_nan=False)]


class SplitParams(Section):
    validation_percent: Percent = Field(description="share of the rows of each label, by content hash")
    test_percent: Percent = Field(description="share of the rows of each label, by content hash")
