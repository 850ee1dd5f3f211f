"""One seed a model; every use of chance derives its own stream from it by name."""

from __future__ import annotations

import hashlib

import numpy as np


def derive(seed: int, *names: str | int) -> int:
    """A 63-bit seed for one named use, e.g. ``derive(17, "train", "order", epoch)``.

    Independent of Python's hash randomisation, so that the same names give the same stream in every process.
    """
    text = "\x1f".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: str | int) -> np.random.Generator:
    return np.random.default_rng(derive(seed, *names))
