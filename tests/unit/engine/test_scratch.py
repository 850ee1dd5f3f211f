"""Random weights in a known architecture."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from finetide import tasks
from finetide.engine.scratch import randomise
from finetide.task import Built, ModelSettings
from support.micro import FAMILIES, micro_base


def build(folder: Path, family: str = "Bert") -> Built:
    micro_base(folder, layers=1, family=family)
    return tasks.load("text-classification").build(folder, ModelSettings(("a", "b"), 16, "mean", 0.1), seed=1)


def state(built: Built) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in built.module.state_dict().items()}


def test_the_same_seed_gives_the_same_weights_and_another_does_not(tmp_path: Path) -> None:
    built = build(tmp_path)
    base = state(built)
    randomise(built.module, seed=3)
    first = state(built)
    randomise(built.module, seed=3)
    assert all(torch.equal(value, first[name]) for name, value in state(built).items())
    randomise(built.module, seed=4)
    name = "encoder.encoder.layer.0.attention.self.query.weight"
    assert not torch.equal(state(built)[name], first[name])
    assert not torch.equal(base[name], first[name])


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_matrices_are_drawn_norms_are_one_biases_zero(family: str, tmp_path: Path) -> None:
    built = build(tmp_path, family)
    randomise(built.module, seed=3)
    drawn = 0
    for name, value in built.module.get_submodule("encoder").named_parameters():
        value = value.detach()
        if value.ndim >= 2:
            drawn += 1
            assert float(value.std()) == pytest.approx(0.02, rel=0.25), name
        else:
            wanted = 0.0 if name.endswith("bias") else 1.0
            assert torch.equal(value, torch.full_like(value, wanted)), name
    assert drawn >= 5


def test_the_paddings_embedding_is_zero(tmp_path: Path) -> None:
    built = build(tmp_path)
    randomise(built.module, seed=3)
    words = built.module.get_parameter("encoder.embeddings.word_embeddings.weight")
    assert torch.equal(words[0], torch.zeros_like(words[0]))
    assert not torch.equal(words[1], torch.zeros_like(words[1]))


def test_the_head_stays(tmp_path: Path) -> None:
    built = build(tmp_path)
    with torch.no_grad():
        built.module.get_parameter("head.weight").fill_(0.5)
    randomise(built.module, seed=3)
    assert float(built.module.get_parameter("head.weight").detach().min()) == 0.5
