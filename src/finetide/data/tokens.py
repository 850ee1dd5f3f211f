"""How many tokens the base makes of a text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from finetide.errors import BaseModelError

CHUNK = 8192


def count_tokens(texts: Sequence[str], tokenizer: Path) -> list[int]:
    """Tokens of each text, the special ones of a single sequence included, nothing cut off.

    Raises: BaseModelError when ``tokenizer`` is no tokenizer.json that the tokenizers library reads.
    """
    try:
        made = Tokenizer.from_file(str(tokenizer))
    except Exception as error:  # The library raises bare exceptions.
        raise BaseModelError(
            f"cannot be read: {error}", where=str(tokenizer), fix="restore the base model's files"
        ) from error
    made.no_truncation()
    made.no_padding()
    counts: list[int] = []
    for start in range(0, len(texts), CHUNK):
        counts.extend(len(encoded.ids) for encoded in made.encode_batch_fast(list(texts[start : start + CHUNK])))
    return counts
