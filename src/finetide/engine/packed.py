"""Whether rows are packed while training, and why; how is the family's business."""

from __future__ import annotations

from collections.abc import Sequence

from finetide.engine import batches
from finetide.task import Built, Examples, Trainable

# From this share of padding on packing is faster, into rows of so many tokens (docs/lab-log.md).
WORTH = 0.25
TOKENS = 128


def decide(
    task: Trainable, built: Built, examples: Examples, epoch: Sequence[Sequence[int]], wanted: str
) -> tuple[int | None, list[str]]:
    """Args: epoch: one epoch's batches. wanted: auto, always or never.

    Returns: the tokens of a row into which examples are packed, None: they are not; and a line that says why.
    """
    if wanted == "never":
        return None, []
    if not task.packs(built):
        return None, ["rows are not packed: the model or the objective takes one text a row"]
    share = batches.padding(examples.lengths, epoch)
    if wanted == "auto" and share < WORTH:
        return None, [f"rows are not packed: padding is {share:.0%} of a batch's tokens"]
    return TOKENS, [f"rows are packed into {TOKENS} tokens, wherever no prefix is kept: {share:.0%} would be padding"]
