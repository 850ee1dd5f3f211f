"""params.yaml: models.MODEL.ingest"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from finetide.config.base import Section


class ColumnParams(Section):
    """Which column of the user's files is what."""

    text: str = Field(min_length=1, description="column that holds the text")
    label: str = Field(min_length=1, description="column that holds the label")
    split: str | None = Field(min_length=1, description="column that says train, validation or test; null: we split")
    group: str | None = Field(min_length=1, description="rows that share it stay on one side of the split; null: none")

    @model_validator(mode="after")
    def _are_different(self) -> Self:
        if self.text == self.label:
            raise ValueError(f"text and label are the same column, {self.text!r}")
        return self


class IngestParams(Section):
    columns: ColumnParams
    encoding: Literal["auto", "utf-8", "utf-16", "latin-1", "cp1252"] = Field(
        description="text encoding of CSV and JSONL files; auto: byte-order mark, else UTF-8"
    )
