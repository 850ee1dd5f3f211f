"""Simple figures of images: each moves with what it is named for, and not with the others."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageFilter

from finetide.images import ImageError
from finetide.shift.pictures import THUMBNAIL, figures, thumbnail
from support.images import encoded, picture


def of(image: Image.Image) -> dict[str, float]:
    return {name: float(values[0]) for name, values in figures([encoded(image)]).items()}


def test_golden_values() -> None:
    grey = Image.fromarray(np.repeat([[0, 255]], 4, axis=0).repeat(4, axis=1).astype(np.uint8))  # 4 × 8, half black
    found = of(grey)
    assert found["brightness"] == pytest.approx(0.5)
    assert found["contrast"] == pytest.approx(0.5)
    assert found["colour"] == 0
    assert found["size"] == pytest.approx(5)
    assert found["shape"] == pytest.approx(1)
    # Of 2 × 6 inner pixels those two columns at the edge see a step of 1: a third of them; by a contrast of a half.
    assert found["sharpness"] == pytest.approx(2 / 6 / 0.5)
    red = of(Image.new("RGB", (4, 4), (255, 0, 0)))
    assert red["colour"] == pytest.approx((2 / 3 + 1 / 3 + 1 / 3) / 3)
    assert red["sharpness"] == 0


@pytest.mark.parametrize(("size", "shown"), [((360, 180), (72, 36)), ((28, 28), (28, 28))])
def test_a_thumbnail_keeps_the_shape_and_enlarges_nothing(size: tuple[int, int], shown: tuple[int, int]) -> None:
    assert max(shown) <= THUMBNAIL
    for mode in ("L", "RGB"):
        data = thumbnail(encoded(Image.new(mode, size, "white")))
        with Image.open(BytesIO(data)) as found:
            assert (found.format, found.size, found.convert("L").getextrema()) == ("PNG", shown, (255, 255))


def test_each_moves_with_its_own() -> None:
    plain = picture("ring", 3, 64)
    before = of(plain)
    dark = of(plain.point(lambda value: value * 0.5))
    assert dark["brightness"] == pytest.approx(before["brightness"] / 2, rel=0.05)
    assert dark["sharpness"] == pytest.approx(before["sharpness"], rel=0.1)
    blurred = of(plain.filter(ImageFilter.GaussianBlur(2)))
    assert blurred["sharpness"] < before["sharpness"] / 2
    assert blurred["brightness"] == pytest.approx(before["brightness"], rel=0.02)
    assert of(plain.convert("L"))["colour"] == 0 < before["colour"]
    assert of(plain.resize((128, 64)))["shape"] == pytest.approx(1)


def test_one_value_an_image_and_none_for_none() -> None:
    found = figures([encoded(picture("disc", seed)) for seed in range(3)])
    assert {len(values) for values in found.values()} == {3}
    assert all(len(values) == 0 for values in figures([]).values())
    with pytest.raises(ImageError):
        figures([b"no image"])
