"""params.yaml: models.MODEL.export"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from finetide.config.base import NotNegative, Positive, Section, Share


class ExportParams(Section):
    opset: Annotated[int, Field(ge=18, le=23)] = Field(description="ONNX operator set of the exported graph")
    max_abs_error: Positive = Field(description="largest difference of a logit between torch and ONNX")
    min_agreement: Share = Field(description="share of test rows on which torch and ONNX predict the same label")
    int8: bool = Field(description="try a dynamically quantised file; kept only if its own gate passes")
    int8_max_drop: NotNegative = Field(description="accuracy that int8 may lose on the validation rows, as a share")
