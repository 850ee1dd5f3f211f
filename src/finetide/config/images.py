"""params.yaml of an image model: the sections in which it differs from a text model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from finetide.config.base import Labels, PositiveInt, Section, Share
from finetide.config.evaluate import MeasureParams
from finetide.config.train import LearnParams

# Of a factor: below 0 an image would turn into its negative.
Range = Annotated[float, Field(ge=0.0, le=0.9, allow_inf_nan=False)]


def cost(side: int) -> int:
    """What an image of ``side`` pixels costs beside a token: one for each 16 × 16 pixels, as ViT cuts it."""
    return max(1, (side // 16) ** 2)


class ImageColumnParams(Section):
    """Which column of a manifest or a Parquet file is what; a folder a class and arrays need none."""

    image: str = Field(min_length=1, description="column with the image's path (manifest) or its bytes (Parquet)")
    label: str = Field(min_length=1, description="column that holds the label")
    split: str | None = Field(min_length=1, description="column that says train, validation or test; null: we split")
    group: str | None = Field(
        min_length=1, description="rows that share it (a patient, a device) stay on one side of the split; null: none"
    )


class ImageIngestParams(Section):
    columns: ImageColumnParams
    encoding: Literal["auto", "utf-8", "utf-16", "latin-1", "cp1252"] = Field(
        description="text encoding of manifests; auto: byte-order mark, else UTF-8"
    )


class ImageValidateParams(Section):
    labels: Labels | None = Field(description="allowed labels; null: those that the reference rows have")
    min_rows_per_label: PositiveInt = Field(description="fewer rows of a label than this is critical")
    min_side: PositiveInt = Field(description="an image with a side of fewer pixels is critical, as a broken one is")
    near_duplicate_similarity: Share = Field(
        description="correlation of 16 × 16 grey thumbnails from which two images count as near duplicates"
    )
    max_quarantine_share: Share = Field(
        description="bad rows up to this share go to the quarantine file; more of them is critical, and then only "
        "images that cannot be read go there; 0: always so"
    )


class AugmentParams(Section):
    """Random changes of training images; with all of them 0 nothing is changed, and a frozen prefix can be kept."""

    flip: Share = Field(description="share of the training images that are mirrored, left to right")
    rotate: Annotated[float, Field(ge=0.0, le=180.0, allow_inf_nan=False)] = Field(
        description="turned by up to so many degrees either way"
    )
    translate: Share = Field(description="moved by up to this share of a side, across and down")
    scale: Range = Field(description="grown or shrunk by up to this share")
    brightness: Range = Field(description="lightened or darkened by up to this share")
    contrast: Range = Field(description="its contrast raised or lowered by up to this share")
    erase: Share = Field(description="share of the training images that lose a rectangle of 2 to 20 % of their area")


class ImageTrainParams(LearnParams):
    max_length: Annotated[int, Field(ge=8, le=1024)] = Field(
        description="side in pixels of the square that every image is brought to"
    )
    augment: AugmentParams
    batch_images: PositiveInt = Field(description="images a forward pass; larger batches are accumulated")

    @property
    def batch_cost(self) -> int:
        return self.batch_images * cost(self.max_length)

    @property
    def drawn(self) -> tuple[tuple[str, float], ...]:
        return tuple(sorted(self.augment.model_dump().items()))


class ImageEvaluateParams(MeasureParams):
    zero_shot_examples: PositiveInt = Field(
        description="training images a label whose mean zero-shot compares an image with, by the untouched base"
    )
