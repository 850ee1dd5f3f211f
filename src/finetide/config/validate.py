"""params.yaml: models.MODEL.validate"""

from __future__ import annotations

from pydantic import ConfigDict, Field

from finetide.config.base import Labels, PositiveInt, Section, Share


class ValidateParams(Section):
    labels: Labels | None = Field(description="allowed labels; null: those that the reference rows have")
    min_rows_per_label: PositiveInt = Field(description="fewer rows of a label than this is critical")
    min_text_length: PositiveInt = Field(description="a text of fewer characters is a warning")
    near_duplicate_similarity: Share = Field(
        description="Jaccard similarity of character 5-grams from which two texts count as near duplicates"
    )
    max_quarantine_share: Share = Field(
        description="bad rows up to this share go to the quarantine file; more of them is critical; 0: never quarantine"
    )


class LengthParams(Section):
    """The one key of models.MODEL.train that validate looks at; the train stage checks and explains the section."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    max_length: PositiveInt
