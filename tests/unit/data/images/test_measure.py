from __future__ import annotations

import numpy as np
from PIL import Image

from finetide.data.images.measure import measure, near_images
from support.images import LABELS, encoded, picture


def test_content_is_that_of_the_pixels_and_not_of_the_file() -> None:
    image = picture("disc", 1)
    one, other = measure(encoded(image, "PNG")), measure(encoded(image, "BMP"))
    assert one.digest == other.digest
    assert (one.width, one.height, one.mode, one.fault) == (32, 32, "RGB", None)
    assert measure(encoded(picture("disc", 2))).digest != one.digest


def test_a_broken_image_is_measured_as_broken() -> None:
    found = measure(b"not an image")
    assert (found.width, found.look, found.fault) == (0, None, "is no image")


def test_copies_are_near_and_others_are_not() -> None:
    images = [picture(label, place) for label in LABELS for place in range(30)]
    looks = [measure(encoded(image)).look for image in images]
    assert len(near_images(looks, 0.99)) == 0
    first = images[5]
    brighter = Image.fromarray((np.asarray(first) * 0.8 + 20).astype(np.uint8))
    changed = [encoded(first, "JPEG", quality=80), encoded(first.resize((64, 64))), encoded(brighter)]
    pairs = near_images([*looks, *(measure(data).look for data in changed)], 0.99)
    assert {(int(old), int(new)) for old, new in zip(pairs.older, pairs.newer, strict=True)} >= {
        (5, 90), (5, 91), (5, 92)
    }  # fmt: skip
    assert set(pairs.older.tolist()) <= {5, 90, 91}


def test_blocks_change_nothing(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    from finetide.data.images import measure as module

    chance = np.random.default_rng(1)
    base = chance.integers(0, 256, (40, 16, 16), dtype=np.uint8)
    values = np.concatenate([base, np.clip(base.astype(int) + chance.integers(-3, 4, base.shape), 0, 255)])
    looks = [measure(encoded(Image.fromarray(one.astype(np.uint8)))).look for one in values]
    whole = near_images(looks, 0.99)
    monkeypatch.setattr(module, "BLOCK", 7)
    parts = near_images(looks, 0.99)
    assert whole.older.tolist() == parts.older.tolist() == list(range(40))
    assert whole.newer.tolist() == parts.newer.tolist() == list(range(40, 80))


def test_flat_images_and_missing_looks_are_near_to_none() -> None:
    flat = measure(encoded(Image.new("L", (20, 20), 90))).look
    assert len(near_images([flat, flat, None, None], 0.5)) == 0
    assert len(near_images([], 0.5)) == 0


def test_a_crowd_is_tied_together_without_all_pairs() -> None:
    look = measure(encoded(picture("ring", 1))).look
    pairs = near_images([look] * 500, 0.99)
    assert len(pairs) < 500 * 8
    assert set(pairs.newer.tolist()) == set(range(1, 500))
    assert set(pairs.older.tolist()) <= set(range(8))
