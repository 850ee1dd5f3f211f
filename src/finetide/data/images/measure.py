"""What can be said of an image without a model: size, mode, whether it can be used, and how it looks."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from finetide.data.near import NearPairs
from finetide.files import sha256_bytes
from finetide.images import ImageError, decode

Array = np.ndarray[Any, np.dtype[Any]]
THUMB = 16
# Below this standard deviation, of 255, a thumbnail is a flat area: any two of them would correlate or not by noise.
FLAT = 2.0
# Of so many older ones like it is a newer image reported with the oldest; enough to keep them together.
CROWD = 8
BLOCK = 2048


@dataclass(frozen=True)
class Measured:
    """``mode``: L or RGB as decoded, empty where it could not be. ``fault`` and ``fix``: why it cannot be used, None
    where it can. ``digest``: equal for equal pixels, whatever the format. ``look``: base64 of 16 × 16 grey values."""

    width: int
    height: int
    mode: str
    fault: str | None
    fix: str | None
    digest: str
    look: str | None


def measure(data: bytes) -> Measured:
    try:
        image = decode(data)
    except ImageError as error:
        return Measured(0, 0, "", str(error), error.fix, sha256_bytes(data), None)
    pixels = f"{image.mode} {image.size} ".encode() + image.tobytes()
    thumb = image.convert("L").resize((THUMB, THUMB), Image.Resampling.BOX)
    look = base64.b64encode(thumb.tobytes()).decode()
    return Measured(image.width, image.height, image.mode, None, None, sha256_bytes(pixels), look)


def near_images(looks: list[str | None], threshold: float) -> NearPairs:
    """Pairs whose thumbnails correlate by at least ``threshold``; exact, block after block.

    Args: looks: `Measured.look` of different images, oldest first. Flat ones, and None, are near to none.
    """
    vectors, places = _vectors(looks)
    older: list[Array] = []
    newer: list[Array] = []
    similarity: list[Array] = []
    for start in range(0, len(vectors), BLOCK):
        block = vectors[start : start + BLOCK]
        found: list[tuple[Array, Array, Array]] = []
        for first in range(0, start + len(block), BLOCK):
            alike = block @ vectors[first : first + BLOCK].T
            rows, columns = np.nonzero(alike >= threshold)
            one, other = rows + start, columns + first
            chosen = other < one
            found.append((other[chosen], one[chosen], alike[rows[chosen], columns[chosen]]))
        old, new, how = (np.concatenate([part[index] for part in found]) for index in range(3))
        order = np.lexsort((old, new))
        old, new, how = old[order], new[order], how[order]
        starts = np.flatnonzero(np.concatenate([[True], new[1:] != new[:-1]])) if len(new) else np.zeros(0, np.int64)
        rank = np.arange(len(new)) - np.repeat(starts, np.diff(np.append(starts, len(new))))
        older.append(old[rank < CROWD])
        newer.append(new[rank < CROWD])
        similarity.append(how[rank < CROWD])
    if not older:
        return NearPairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float64))
    return NearPairs(
        places[np.concatenate(older)], places[np.concatenate(newer)], np.concatenate(similarity).astype(np.float64)
    )


def _vectors(looks: list[str | None]) -> tuple[Array, Array]:
    """(unit vectors of those that are not flat, [images, 256] float32; their positions in ``looks``)."""
    places = np.array([place for place, look in enumerate(looks) if isinstance(look, str)], np.int64)
    if not len(places):
        return np.zeros((0, THUMB * THUMB), np.float32), places
    raw = b"".join(base64.b64decode(looks[place] or "") for place in places)
    values = np.frombuffer(raw, np.uint8).reshape(len(places), -1).astype(np.float32)
    uneven = values.std(axis=1) >= FLAT
    values, places = values[uneven], places[uneven]
    values -= values.mean(axis=1, keepdims=True)
    return values / np.linalg.norm(values, axis=1, keepdims=True), places
