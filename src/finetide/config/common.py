"""Settings that several stages share: the task, the seed, the pre-trained base."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from finetide.config.base import HASH_PATTERN, REVISION_PATTERN, SOURCE_PATTERN, Section

TaskName = Literal["text-classification", "image-classification", "question-answering"]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1, description="seed of everything that uses chance")]


class BaseParams(Section):
    """The pre-trained model."""

    source: str = Field(
        pattern=SOURCE_PATTERN,
        description="package:DISTRIBUTION (weights inside an installed package), path:FOLDER, or hub:ORG/NAME",
    )
    revision: str | None = Field(
        pattern=REVISION_PATTERN, description="commit or tag on the hub; null for a package or a folder"
    )
    sha256: str = Field(pattern=HASH_PATTERN, description="SHA-256 of model.safetensors, checked before use")
