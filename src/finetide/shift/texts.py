"""Simple figures of texts that a person can read off the shift page."""

from __future__ import annotations

import hashlib
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
BATCH = 1000


def figures(texts: Sequence[str]) -> dict[str, Array]:
    """Name → one value a text: words, share of digits, of capitals, of punctuation, of letters outside the commonest
    script, of rare words, and whether the text comes more than once.

    A word is rare when no other text of either side holds it; the commonest script is that of both sides. Neither
    depends on which side a text is on, so that permuting the sides stays valid.
    """
    spread: Counter[str] = Counter()
    same: Counter[bytes] = Counter()
    for text in texts:  # twice over the words: those of a million texts fill the memory
        words = _words(text)
        spread.update(set(words))
        same[_print(words)] += 1
    counts = np.zeros((len(texts), 3))
    for place, text in enumerate(texts):
        words = _words(text)
        rare = sum(spread[word] == 1 for word in words) / max(1, len(words))
        counts[place] = len(words), rare, same[_print(words)] > 1
    return {
        "words": counts[:, 0].copy(),
        "digits": _share(texts, str.isdigit),
        "capitals": _share(texts, str.isupper),
        "punctuation": _share(texts, lambda sign: not sign.isalnum() and not sign.isspace()),
        "other scripts": _other_scripts(texts),
        "rare words": counts[:, 1].copy(),
        "duplicates": counts[:, 2].copy(),
    }


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]


def _print(words: Sequence[str]) -> bytes:
    """Of equal words only, as far as 64 bits tell."""
    return hashlib.blake2b(" ".join(words).encode("utf-8", "surrogatepass"), digest_size=8).digest()


def unknown_tokens(texts: Sequence[str], tokenizer: str) -> dict[str, Array]:
    """Share of each text's tokens that the base does not know, by name; nothing for a tokenizer that knows all bytes.

    Args: tokenizer: path of tokenizer.json.
    """
    made = load_tokenizer(tokenizer)
    name = getattr(made.model, "unk_token", None)
    unknown = made.token_to_id(name) if name else None
    if unknown is None:
        return {}
    shares = []
    for start in range(0, len(texts), BATCH):  # what the tokenizer gives is many times a text's size
        encoded = made.encode_batch_fast(list(texts[start : start + BATCH]), add_special_tokens=False)
        shares += [one.ids.count(unknown) / max(1, len(one.ids)) for one in encoded]
    return {"unknown tokens": np.array(shares)}


def _share(texts: Sequence[str], test: Callable[[str], bool]) -> Array:
    return np.array([sum(map(test, text)) / max(1, len(text)) for text in texts])


@lru_cache(maxsize=65536)
def script(letter: str) -> str:
    """The script as the letter's Unicode name begins, such as LATIN, CYRILLIC or CJK."""
    return unicodedata.name(letter, "UNNAMED").split(" ", 1)[0].split("-", 1)[0]


def _other_scripts(texts: Sequence[str]) -> Array:
    together: Counter[str] = Counter()
    for text in texts:
        together.update(_scripts(text))
    common = max(together, key=lambda name: (together[name], name), default="")
    shares = np.zeros(len(texts))
    for place, text in enumerate(texts):
        found = _scripts(text)
        if found:
            shares[place] = 1 - found[common] / found.total()
    return shares


def _scripts(text: str) -> Counter[str]:
    """Letters by script; ASCII has but one."""
    if text.isascii():
        letters = sum(map(str.isalpha, text))
        return Counter(LATIN=letters) if letters else Counter()
    return Counter(script(sign) for sign in text if sign.isalpha())
