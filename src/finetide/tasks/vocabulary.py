"""Words of a domain as tokens of their own, instead of in pieces that the base rarely saw together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer

from finetide.errors import ConfigError

WHERE = "train.tokens"


def add(tokenizer: Tokenizer, encoder: Any, words: Sequence[str], *, known: bool) -> bool:
    """Make each word a token, in place. Its vector starts as the mean of its pieces' vectors, so that the model
    reads about what it read before.

    Args:
        encoder: of transformers; gets room for the new vectors.
        known: whether the weights may have been trained with these words, which then stay as they are.

    Returns:
        Whether any word was new.

    Raises: ConfigError: a word is a token already, or has no pieces.
    """
    pieces: dict[str, list[int]] = {}
    for place, word in enumerate(words):
        if tokenizer.token_to_id(word) is not None:
            if known:
                continue
            raise ConfigError(
                "is a token of the base already", where=f"{WHERE}[{place}]", found=word, fix="leave it out"
            )
        pieces[word] = tokenizer.encode(word, add_special_tokens=False).ids
        if not pieces[word]:
            raise ConfigError(
                "the tokenizer makes nothing of it", where=f"{WHERE}[{place}]", found=word, fix="leave it out"
            )
    if not pieces:
        return False
    old = encoder.get_input_embeddings().weight.detach().clone()
    # Normalised as texts are, else a lower-casing tokenizer would never meet a word with a capital.
    tokenizer.add_tokens([AddedToken(word, single_word=True, normalized=True, lstrip=True) for word in pieces])
    size = tokenizer.get_vocab_size(with_added_tokens=True)
    if size > len(old):
        encoder.resize_token_embeddings(size, mean_resizing=False)
    vectors = encoder.get_input_embeddings().weight
    with torch.no_grad():
        for word, ids in pieces.items():
            vectors[tokenizer.token_to_id(word)] = old[ids].mean(0)
    return True


def _refused(what: str, place: int, word: str) -> ConfigError:
    return ConfigError(what, where=f"{WHERE}[{place}]", found=word, fix="leave it out")
