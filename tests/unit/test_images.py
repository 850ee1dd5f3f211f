"""From an encoded image to the tensor that training and serving share."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from finetide.images import MAX_PIXELS, ImageError, Spec, decode, fit, spec_bytes, spec_of, square, tensor
from support.images import encoded, picture, processor

SPEC = spec_of(processor(), 32, 3)


def test_a_spec_is_what_the_base_says() -> None:
    assert Spec(32, 3, None, 2, 1 / 255, (0.5, 0.4, 0.3), (0.5, 0.25, 0.2)) == SPEC
    shortest = {**processor(), "size": {"shortest_edge": 224}, "crop_pct": 0.5}
    assert spec_of(shortest, 32, 3).crop == 0.5
    assert spec_of({**processor(), "do_normalize": False}, 32, 3).mean == (0.0, 0.0, 0.0)
    grey = spec_of(processor(), 32, 1)
    assert grey.mean == pytest.approx((0.4,))
    with pytest.raises(ValueError, match="image_mean must have 3 numbers"):
        spec_of({**processor(), "image_mean": [0.5, 0.5]}, 32, 3)


def test_a_spec_comes_back_from_its_file() -> None:
    import json

    assert Spec.from_json(json.loads(spec_bytes(SPEC))) == SPEC
    for broken in ({}, {**SPEC.as_json(), "side": 3, "more": 1}, {**SPEC.as_json(), "mean": [0.5]}, []):
        with pytest.raises(ValueError):
            Spec.from_json(broken)


def test_values_are_scaled_and_normalised_by_channel() -> None:
    squares = np.full((1, 32, 32, 3), 255, np.uint8)
    found = tensor(squares, SPEC)
    assert found.shape == (1, 3, 32, 32)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0, :, 0, 0], [1.0, 2.4, 3.5], rtol=1e-6)


def test_a_stretched_and_a_cropped_image() -> None:
    values = np.zeros((32, 64, 3), np.uint8)
    values[:, :16], values[:, 48:] = 255, 255  # what the middle crop leaves out
    image = Image.fromarray(values)
    assert fit(image, SPEC).max() == 255
    cropped = fit(image, spec_of({**processor(), "size": {"shortest_edge": 32}, "crop_pct": 1.0}, 32, 3))
    assert cropped[:, 1:-1].max() == 0


def test_every_format_gives_the_same_pixels() -> None:
    image = picture("ring", 1)
    wanted = square(encoded(image, "PNG"), SPEC)
    for kind in ("BMP", "TIFF", "PPM"):
        assert np.array_equal(square(encoded(image, kind), SPEC), wanted)
    assert np.array_equal(square(encoded(image, "WEBP", lossless=True), SPEC), wanted)


def test_an_image_is_turned_upright() -> None:
    image = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    found = decode(encoded(image, "PNG", exif=exif))
    assert found.size == (6, 8)
    assert np.array_equal(np.asarray(found), np.rot90(np.asarray(image), -1))


def test_what_is_transparent_becomes_white() -> None:
    image = Image.new("RGBA", (8, 8), (10, 20, 30, 0))
    assert np.asarray(decode(encoded(image))).min() == 255
    assert decode(encoded(Image.new("LA", (8, 8), (0, 255)))).mode == "L"


WHOLE = encoded(picture("disc", 3), "JPEG")
BOMB = b"P6\n60000 60000\n255\n" + b"\0" * 64


@pytest.mark.parametrize(
    ("data", "said", "fix"),
    [
        (b"", "is empty", "bring the file again"),
        (b"no image at all", "is no image", "bring it as one of BMP"),
        (WHOLE[: len(WHOLE) // 2], "is truncated", "bring the whole file again"),
        (WHOLE[:20], "", ""),
        (BOMB, f"more pixels than the {MAX_PIXELS:,} that are taken", "scale it down"),
        (b"P6\n9000 9000\n255\n", "9000 × 9000, more pixels than", "scale it down"),
        (encoded(picture("bar", 1).convert("CMYK"), "JPEG"), "has mode CMYK", "8-bit grey or RGB"),
        (encoded(Image.new("I;16", (9, 9)), "PNG"), "has mode I;16", "8-bit grey or RGB"),
        (encoded(Image.new("F", (9, 9)), "TIFF"), "has mode F", "8-bit grey or RGB"),
        (b"%PDF-1.4 and so on", "is no image", "bring it as one of"),
    ],
)
def test_what_cannot_be_used_is_named(data: bytes, said: str, fix: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode(data)
    assert said in str(caught.value)
    assert fix in caught.value.fix


def test_a_film_is_no_image() -> None:
    stream = io.BytesIO()
    frames = [picture("bar", place) for place in range(3)]
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
    with pytest.raises(ImageError, match="has 3 frames"):
        decode(stream.getvalue())
