"""What every section of params.yaml has in common: strict types, nothing unknown, no defaults."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

# Names reach a shell through DVC's templating, and file names, tags and Prefect keys: nothing but these may pass.
NAME_PATTERN = r"^[a-z][a-z0-9-]{0,39}$"

Share = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
PositiveInt = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class Section(BaseModel):
    """A section of params.yaml. Every field is required: DVC sees only the YAML, so a default may live only there."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
