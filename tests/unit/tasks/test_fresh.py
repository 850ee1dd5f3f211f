"""Bases of random weights: the family builds each, and equal arguments give equal bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from finetide import tasks
from finetide.cli import bases
from finetide.files import tree_hashes
from finetide.task import ModelSettings
from finetide.tasks import fresh

TASK = tasks.load("image-classification")


def test_the_verb_offers_what_there_is() -> None:
    assert sorted(fresh.SIZES) == list(bases.ARCHITECTURES)
    assert all(tuple(sizes) == bases.SIZES for sizes in fresh.SIZES.values())
    assert fresh.STEP == bases.STEP


@pytest.mark.parametrize("architecture", sorted(fresh.SIZES))
@pytest.mark.parametrize(("side", "channels"), [(16, 1), (40, 3)])
def test_the_family_builds_it_at_any_side(tmp_path: Path, architecture: str, side: int, channels: int) -> None:
    folder = tmp_path / "base"
    folder.mkdir()
    count = fresh.write(folder, architecture=architecture, size="tiny", side=side, channels=channels, seed=3)
    built = TASK.build(folder, ModelSettings(("a", "b"), side, "mean", 0.0), seed=1)
    assert sum(value.numel() for value in built.module.encoder.parameters()) == count
    assert built.preprocessor.spec.channels == channels
    logits = built.module(torch.zeros(2, channels, side, side))
    assert logits.shape == (2, 2)
    assert torch.isfinite(logits).all()


def test_equal_arguments_equal_bytes(tmp_path: Path) -> None:
    found = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        (tmp_path / name).mkdir()
        fresh.write(tmp_path / name, architecture="vit", size="tiny", side=32, channels=3, seed=seed)
        found.append(tree_hashes(tmp_path / name))
    assert found[0] == found[1]
    assert found[0] != found[2]
