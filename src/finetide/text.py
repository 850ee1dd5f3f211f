"""Text → token ids, the one way that training and serving share."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer


def load_tokenizer(path: str) -> Tokenizer:
    """A tokenizer file with neither truncation nor padding in force: both are ours, so that they cannot differ."""
    tokenizer = Tokenizer.from_file(path)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def encode(tokenizer: Tokenizer, texts: Sequence[str], max_length: int) -> list[list[int]]:
    """Ids of each text with the tokenizer's special tokens, at most ``max_length`` of them.

    The cut is made by the tokenizer itself, so that the closing special token stays.
    """
    tokenizer.enable_truncation(max_length)
    try:
        return [encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts))]
    finally:
        tokenizer.no_truncation()
