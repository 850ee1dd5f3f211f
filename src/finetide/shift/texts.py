"""Simple figures of texts that a person can read off the shift page."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
_WORD = re.compile(r"\w+")


def figures(texts: Sequence[str]) -> dict[str, Array]:
    """Name → one value a text: words, share of digits, of capitals, of punctuation, and of rare words.

    A word is rare when at most one text of either side holds it: whose words those are does not depend on the sides,
    so that permuting them stays valid.
    """
    words = [[word.lower() for word in _WORD.findall(text)] for text in texts]
    spread = Counter(word for found in words for word in set(found))
    return {
        "words": np.array([float(len(found)) for found in words]),
        "digits": _share(texts, str.isdigit),
        "capitals": _share(texts, str.isupper),
        "punctuation": _share(texts, lambda sign: not sign.isalnum() and not sign.isspace()),
        "rare words": np.array([sum(spread[word] == 1 for word in found) / max(1, len(found)) for found in words]),
    }


def _share(texts: Sequence[str], test: Any) -> Array:
    return np.array([sum(map(test, text)) / max(1, len(text)) for text in texts])
