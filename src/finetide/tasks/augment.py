"""Random changes of training images that leave their label as it is: Pillow, on squares of bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance

from finetide.images import Bytes

# Of a square, what an erased rectangle covers at least and at most (Zhong et al. 2020, "Random erasing").
ERASED = (0.02, 0.2)


@dataclass(frozen=True)
class Augment:
    """``flip``, ``erase``: share of the images that are mirrored, or lose a rectangle. The others say how far at most:
    ``rotate`` in degrees either way, ``translate`` in sides, ``scale``, ``brightness`` and ``contrast`` as shares by
    which it grows or shrinks."""

    flip: float = 0.0
    rotate: float = 0.0
    translate: float = 0.0
    scale: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    erase: float = 0.0

    @property
    def moves(self) -> bool:
        return bool(self.rotate or self.translate or self.scale)

    def __bool__(self) -> bool:
        return self != Augment()

    def apply(self, square: Bytes, rng: np.random.Generator) -> Bytes:
        """A changed copy. Args: square: uint8 [side, side, channels], 1 or 3 of them."""
        # All is drawn, needed or not: one setting does not move what another one draws.
        mirrored, angle, across, down, size, light, contrast, erased = rng.uniform(-1, 1, 8)
        covered, ratio, left, top = rng.random(4)
        side, channels = square.shape[0], square.shape[2]
        image = Image.fromarray(square[:, :, 0] if channels == 1 else square)
        if self.flip > (mirrored + 1) / 2:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if self.moves:
            matrix = _back(
                side, math.radians(angle * self.rotate), 1 + size * self.scale,
                across * self.translate * side, down * self.translate * side,
            )  # fmt: skip
            image = image.transform(
                image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=_border(square)
            )
        if self.brightness:
            image = ImageEnhance.Brightness(image).enhance(1 + light * self.brightness)
        if self.contrast:
            image = ImageEnhance.Contrast(image).enhance(1 + contrast * self.contrast)
        made: Bytes = np.array(image, dtype=np.uint8).reshape(side, side, channels)
        if self.erase > (erased + 1) / 2:
            area = (ERASED[0] + covered * (ERASED[1] - ERASED[0])) * side * side
            stretch = math.exp((ratio - 0.5) * 2 * math.log(3.0))  # height by width: a third to three
            height, width = (
                min(side, max(1, round(value))) for value in (math.sqrt(area * stretch), math.sqrt(area / stretch))
            )
            y, x = int(top * (side - height + 1)), int(left * (side - width + 1))
            made[y : y + height, x : x + width] = made.mean((0, 1)).astype(np.uint8)
        return made


def _back(side: int, angle: float, size: float, across: float, down: float) -> tuple[float, ...]:
    """Pillow's six numbers: where in the given image each point of the new one comes from, around the middle."""
    cos, sin, middle = math.cos(angle) / size, math.sin(angle) / size, side / 2
    return (
        cos, sin, middle - cos * (middle + across) - sin * (middle + down),
        -sin, cos, middle + sin * (middle + across) - cos * (middle + down),
    )  # fmt: skip


def _border(square: Bytes) -> int | tuple[int, ...]:
    """What comes in from outside: the median along the edge, so that black ground stays black."""
    edge = np.concatenate([square[0], square[-1], square[:, 0], square[:, -1]])
    found = tuple(int(value) for value in np.median(edge, axis=0))
    return found[0] if len(found) == 1 else found
