"""params.yaml: models.MODEL.evaluate"""

from __future__ import annotations

from pydantic import ConfigDict, Field

from finetide.config.base import Confidence, PositiveInt, Section


class MeasureParams(Section):
    """What every family measures by."""

    bootstrap: PositiveInt = Field(description="resamples for intervals")
    confidence: Confidence = Field(description="coverage of the intervals")
    calibration_bins: PositiveInt = Field(description="bins of the expected calibration error")


class EvaluateParams(MeasureParams):
    label_descriptions: dict[str, str] = Field(
        description="what zero-shot compares a text with, a label; a label not named here is taken by its name"
    )


class EncodingParams(Section):
    """The two keys of models.MODEL.train that decide how a trained model reads a text (the only ones in the deps of
    the evaluate stage). The train stage checks the section as a whole; explained there."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    max_length: PositiveInt
    pooling: str
