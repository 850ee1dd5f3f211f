"""Simple figures of texts that a person can read off the shift page."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from finetide.text import load_tokenizer

Array = np.ndarray[Any, Any]
_WORD = re.compile(r"\w+")


def figures(texts: Sequence[str]) -> dict[str, Array]:
    """Name → one value a text: words, share of digits, of capitals, of punctuation, of letters outside the commonest
    script, of rare words, and whether the text comes more than once.

    A word is rare when no other text of either side holds it; the commonest script is that of both sides. Neither
    depends on which side a text is on, so that permuting the sides stays valid.
    """
    words = [[word.lower() for word in _WORD.findall(text)] for text in texts]
    spread = Counter(word for found in words for word in set(found))
    same = Counter(" ".join(found) for found in words)
    return {
        "words": np.array([float(len(found)) for found in words]),
        "digits": _share(texts, str.isdigit),
        "capitals": _share(texts, str.isupper),
        "punctuation": _share(texts, lambda sign: not sign.isalnum() and not sign.isspace()),
        "other scripts": _other_scripts(texts),
        "rare words": np.array([sum(spread[word] == 1 for word in found) / max(1, len(found)) for found in words]),
        "duplicates": np.array([float(same[" ".join(found)] > 1) for found in words]),
    }


def unknown_tokens(texts: Sequence[str], tokenizer: str) -> dict[str, Array]:
    """Share of each text's tokens that the base does not know, by name; nothing for a tokenizer that knows all bytes.

    Args: tokenizer: path of tokenizer.json.
    """
    made = load_tokenizer(tokenizer)
    name = getattr(made.model, "unk_token", None)
    unknown = made.token_to_id(name) if name else None
    if unknown is None:
        return {}
    encoded = made.encode_batch_fast(list(texts), add_special_tokens=False)
    return {"unknown tokens": np.array([one.ids.count(unknown) / max(1, len(one.ids)) for one in encoded])}


def _share(texts: Sequence[str], test: Callable[[str], bool]) -> Array:
    return np.array([sum(map(test, text)) / max(1, len(text)) for text in texts])


@lru_cache(maxsize=65536)
def script(letter: str) -> str:
    """The script as the letter's Unicode name begins, such as LATIN, CYRILLIC or CJK."""
    return unicodedata.name(letter, "UNNAMED").split(" ", 1)[0].split("-", 1)[0]


def _other_scripts(texts: Sequence[str]) -> Array:
    counts = [Counter(script(sign) for sign in text if sign.isalpha()) for text in texts]
    together: Counter[str] = sum(counts, Counter())
    common = max(together, key=lambda name: (together[name], name), default="")
    return np.array([1 - found[common] / found.total() if found else 0.0 for found in counts])
