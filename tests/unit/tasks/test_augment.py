"""Random changes of training images: what each does, that 0 does nothing, and that draws belong to rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetide import tasks
from finetide.seeding import generator
from finetide.task import ModelSettings
from finetide.tasks.augment import Augment, _back
from support.images import LABELS, SIDE, micro_vision
from unit.tasks.test_image_classification import SETTINGS, table

TASK = tasks.load("image-classification")


class Drawn:
    """In place of a generator: the draws it would give."""

    def __init__(self, signed: Sequence[float] = (0,) * 8, plain: Sequence[float] = (0.5,) * 4) -> None:
        self._signed, self._plain = signed, plain

    def uniform(self, *_: Any) -> Sequence[float]:
        return self._signed

    def random(self, _: int) -> Sequence[float]:
        return self._plain


def noise(channels: int = 3, side: int = 16, seed: int = 1) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (side, side, channels), dtype=np.uint8)


def signed(**values: float) -> list[float]:
    names = ("mirrored", "angle", "across", "down", "size", "light", "contrast", "erased")
    return [values.get(name, 0.0) for name in names]


@pytest.mark.parametrize("channels", [1, 3])
def test_nothing_asked_nothing_changed(channels: int) -> None:
    given = noise(channels)
    assert not Augment()
    np.testing.assert_array_equal(Augment().apply(given, np.random.default_rng(3)), given)


@pytest.mark.parametrize("channels", [1, 3])
def test_golden_moves(channels: int) -> None:
    given = noise(channels)
    found = Augment(flip=1.0).apply(given, Drawn())  # type: ignore[arg-type]
    np.testing.assert_array_equal(found, given[:, ::-1])
    turned = Augment(rotate=90.0).apply(given, Drawn(signed(angle=1)))  # type: ignore[arg-type]
    np.testing.assert_allclose(turned.astype(int), np.rot90(given, -1), atol=1)  # cos 90° is no exact 0
    moved = Augment(translate=0.25).apply(given, Drawn(signed(across=1, down=-1)))  # type: ignore[arg-type]
    np.testing.assert_array_equal(moved[:-4, 4:], given[4:, :-4])


def test_what_comes_in_from_outside_is_the_edge() -> None:
    given = np.full((16, 16, 1), 7, np.uint8)
    given[6:10, 6:10] = 200
    moved = Augment(translate=0.25).apply(given, Drawn(signed(across=1)))  # type: ignore[arg-type]
    assert set(np.unique(moved[:, :4])) == {7}


def test_scale_grows_around_the_middle() -> None:
    matrix = _back(20, 0.0, 2.0, 0.0, 0.0)
    assert matrix == pytest.approx((0.5, 0, 5, 0, 0.5, 5))
    given = np.zeros((20, 20, 1), np.uint8)
    given[8:12, 8:12] = 255
    grown = Augment(scale=0.9).apply(given, Drawn(signed(size=1)))  # type: ignore[arg-type]
    assert 2.5 < grown.mean() / given.mean() < 4.5


def test_light_and_contrast_go_both_ways() -> None:
    given = noise()
    for setting, draw in (("brightness", "light"), ("contrast", "contrast")):
        changes = [
            Augment(**{setting: 0.5}).apply(given, Drawn(signed(**{draw: way})))  # type: ignore[arg-type]
            for way in (-1.0, 1.0)
        ]
        less, more = (change.mean() if setting == "brightness" else change.std() for change in changes)
        plain = given.mean() if setting == "brightness" else given.std()
        assert less < 0.7 * plain < plain < more


def test_erased_is_a_rectangle_of_the_stated_share() -> None:
    shares = []
    for seed in range(300):
        given = noise(1, 32, seed)
        changed = (Augment(erase=1.0).apply(given, np.random.default_rng(seed)) != given)[:, :, 0]
        ys, xs = np.nonzero(changed)
        inside = changed[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
        assert inside.mean() > 0.9  # a pixel may have the mean's value already
        shares.append(inside.size / changed.size)
    assert min(shares) > 0.01
    assert max(shares) < 0.24


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_shares_are_kept(share: float) -> None:
    given = noise(1, 8)
    found = [
        np.array_equal(Augment(flip=share).apply(given, generator(1, "x", place)), given[:, ::-1])
        for place in range(1000)
    ]
    assert abs(np.mean(found) - share) <= 0.045  # 3 standard deviations of a thousand draws


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("base")
    micro_vision(made, "ResNet")
    return made


def test_only_training_sees_them_and_every_row_by_its_own_draw(folder: Path) -> None:
    rows = table(3)
    plain = TASK.build(folder, SETTINGS, seed=1)
    turned = TASK.build(folder, replace(SETTINGS, augment=(("flip", 0.5), ("rotate", 20.0))), seed=1)
    examples = TASK.encode(plain, rows)
    assert (TASK.draws(plain), TASK.draws(turned)) == (False, True)

    def pixels(built: Any, index: list[int], seed: int | None) -> Any:
        return TASK.collate(built, examples, index, seed=seed)["pixel_values"].numpy()

    everyone = list(range(len(rows)))
    scored = pixels(plain, everyone, None)
    np.testing.assert_array_equal(pixels(turned, everyone, None), scored)
    np.testing.assert_array_equal(pixels(plain, everyone, 5), scored)
    trained = pixels(turned, everyone, 5)
    assert all((trained[row] != scored[row]).any() for row in everyone)
    np.testing.assert_array_equal(pixels(turned, everyone[3:5], 5), trained[3:5])  # a batch may be cut in smaller ones
    np.testing.assert_array_equal(pixels(turned, everyone, 5), trained)
    assert (pixels(turned, everyone, 6) != trained).any()
    assert len(examples.ids) == len(LABELS) * 3
    assert scored.shape[-1] == SIDE


def test_a_saved_model_knows_nothing_of_them(folder: Path, tmp_path: Path) -> None:
    settings = replace(SETTINGS, augment=(("erase", 1.0),))
    TASK.save(TASK.build(folder, settings, seed=1), tmp_path / "model")
    again = TASK.build(tmp_path / "model", ModelSettings(LABELS, SIDE, "mean", 0.0), seed=1)
    assert not TASK.draws(again)
    assert "erase" not in "".join(path.read_text() for path in (tmp_path / "model").glob("*.json"))
