"""What every section of params.yaml has in common: strict types, nothing unknown, no defaults."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

# Names reach a shell through DVC's templating, and file names, tags and Prefect keys: nothing but these may pass.
NAME_PATTERN = r"^[a-z][a-z0-9-]{0,39}$"
SOURCE_PATTERN = r"^(package|path|hub):[A-Za-z0-9_./-]+$"
REVISION_PATTERN = r"^[A-Za-z0-9_.-]+$"
HASH_PATTERN = r"^[0-9a-f]{64}$"
BLOCKS_PATTERN = r"^-?\d+(-(-?\d+))?$"
# What each of them asks for, for a person.
WORD_PATTERN = r"^\S+$"
# A problem of this kind is told without what was found.
HIDDEN = "hidden"
NOTICE_PATTERN = r"^[a-z0-9-]+/[a-z0-9-]+$"
PATTERN_WORDS = {
    WORD_PATTERN: "a word without spaces",
    NOTICE_PATTERN: "TYPE/NAME of a notification block, as the dashboard names them, e.g. slack-webhook/ops",
    NAME_PATTERN: "lower-case letters, digits and dashes, start with a letter, at most 40",
    SOURCE_PATTERN: "package:DISTRIBUTION, path:FOLDER or hub:ORG/NAME, of letters, digits and . _ - / only",
    REVISION_PATTERN: "a commit or a tag, of letters, digits and . _ - only; or null",
    BLOCKS_PATTERN: 'blocks by number, from 0 at the bottom, in quotes: "0-3", "5", or "-2--1", the last two',
    HASH_PATTERN: "64 hexadecimal digits in lower case, as `sha256sum model.safetensors` prints them",
}

Share = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
OpenShare = Annotated[float, Field(gt=0.0, lt=1.0, allow_inf_nan=False)]
Confidence = Annotated[float, Field(gt=0.5, lt=1.0, allow_inf_nan=False)]
# Above what any machine could do; a number beyond it is a slip of the pen.
LARGEST = 10_000_000
PositiveInt = Annotated[int, Field(ge=1, le=LARGEST)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


def _two_labels(labels: list[str]) -> list[str]:
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise ValueError(f"names {twice!r} twice")
    if len(labels) < 2:
        raise ValueError("must name at least two labels, or be null")
    return labels


Labels = Annotated[list[str], AfterValidator(_two_labels)]


class Section(BaseModel):
    """A section of params.yaml. Every field is required: DVC sees only the YAML, so a default may live only there."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
