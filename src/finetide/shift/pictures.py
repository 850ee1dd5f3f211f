"""Simple figures of images that a person can read off the shift page."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any, SupportsBytes

import numpy as np
from PIL import Image

from finetide.images import decode

Array = np.ndarray[Any, Any]
# Pixels of the longer side at which figures are taken: a photograph costs no more than a thumbnail of itself.
SIDE = 128
# Pixels of the longer side on a page.
THUMBNAIL = 72


def figures(images: Sequence[SupportsBytes]) -> dict[str, Array]:
    """Name → one value an image: brightness and contrast (mean and standard deviation of grey, 0 to 1), sharpness (mean
    absolute Laplacian of grey, by contrast), colour (mean distance of the channels from grey, 0 to 1), size (base-2
    logarithm of its pixels) and shape (that of width by height).

    Raises: ImageError: an image that cannot be decoded.
    """
    found = np.array([_one(bytes(image)) for image in images], dtype=np.float64).reshape(len(images), 6)
    return dict(zip(("brightness", "contrast", "sharpness", "colour", "size", "shape"), found.T, strict=True))


def thumbnail(data: bytes) -> bytes:
    """As PNG, for a page. Raises: ImageError."""
    image, written = decode(data), BytesIO()
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    image.save(written, "PNG")
    return written.getvalue()


def _one(data: bytes) -> tuple[float, ...]:
    image = decode(data)
    width, height = image.size
    image.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    grey = np.asarray(image.convert("L"), dtype=np.float64) / 255
    colour = 0.0
    if image.mode == "RGB":
        channels = np.asarray(image, dtype=np.float64) / 255
        colour = float(np.abs(channels - channels.mean(axis=2, keepdims=True)).mean())
    contrast = float(grey.std())
    inner = grey[1:-1, 1:-1]
    beside = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    edges = float(np.abs(beside - 4 * inner).mean()) if inner.size else 0.0
    # By contrast: else a darker picture of the same thing would count as a blurred one.
    sharpness = edges / contrast if contrast > 1 / 255 else 0.0
    return (
        float(grey.mean()),
        contrast,
        sharpness,
        colour,
        float(np.log2(width * height)),
        float(np.log2(width / height)),
    )
