"""A model in service as the base of another: the encoder whole, the head left behind, nothing half-written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from finetide import base, tasks
from finetide.bases import new_folder, take
from finetide.errors import InputError, IntegrityError, ProjectError
from finetide.task import Built, ModelSettings
from support.images import LABELS, SIDE, micro_vision
from support.micro import micro_base
from support.registry import MODEL, make_bundle, make_project, promote_made


def promoted(tmp_path: Path, built: Built, task: str) -> Path:
    """A project whose model in service has these weights."""
    root = make_project(tmp_path / "project")
    bundle, weights = make_bundle(tmp_path / "made", "one")
    (weights / "model.safetensors").unlink()
    tasks.load(task).save(built, weights)
    promote_made(root, bundle, weights)
    return root


@pytest.mark.parametrize("family", ["ResNet", "ViT"])
def test_an_image_encoder_goes_over_whole(tmp_path: Path, family: str) -> None:
    task = tasks.load("image-classification")
    micro_vision(tmp_path / "base", family)
    built = task.build(tmp_path / "base", ModelSettings(LABELS, SIDE, "mean", 0.0), seed=1)
    with torch.no_grad():
        for value in built.module.parameters():
            value.add_(0.01)
    root = promoted(tmp_path, built, "image-classification")
    with new_folder(tmp_path / "next") as made:
        taken = take(root, MODEL, made)
    pinned = base.pin(f"path:{tmp_path / 'next'}", None, tmp_path)
    again = task.build(base.resolve(pinned, tmp_path), ModelSettings(("x", "y"), SIDE, "mean", 0.0), seed=2)
    wanted = dict(built.module.encoder.state_dict())
    assert taken.tensors == len(wanted)
    for name, value in again.module.encoder.state_dict().items():
        assert torch.equal(value, wanted[name]), name
    assert again.module.head.weight.shape[0] == 2
    assert again.preprocessor == built.preprocessor


def test_a_text_encoder_too(tmp_path: Path) -> None:
    task = tasks.load("text-classification")
    micro_base(tmp_path / "base")
    built = task.build(tmp_path / "base", ModelSettings(("a", "b"), 32, "mean", 0.0, tokens=("xylotherm",)), seed=1)
    root = promoted(tmp_path, built, "text-classification")
    with new_folder(tmp_path / "next") as made:
        take(root, MODEL, made)
    assert not any(name.startswith("head") for name in load_file(tmp_path / "next" / "model.safetensors"))
    again = task.build(tmp_path / "next", ModelSettings(("x", "y", "z"), 32, "mean", 0.0), seed=2)
    for name, value in again.module.encoder.state_dict().items():
        assert torch.equal(value, built.module.encoder.state_dict()[name]), name
    assert again.preprocessor.tokenizer.get_vocab() == built.preprocessor.tokenizer.get_vocab()


def test_nothing_in_service_and_altered_weights(tmp_path: Path) -> None:
    root = make_project(tmp_path / "empty")
    with pytest.raises(ProjectError, match="has no model in service yet") as none, new_folder(tmp_path / "a") as made:
        take(root, MODEL, made)
    assert none.value.fix == f"finetide run {MODEL}"
    micro_vision(tmp_path / "base")
    task = tasks.load("image-classification")
    built = task.build(tmp_path / "base", ModelSettings(LABELS, SIDE, "mean", 0.0), seed=1)
    root = promoted(tmp_path, built, "image-classification")
    weights = next(root.glob("serving/*/*/weights/model.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(IntegrityError), new_folder(tmp_path / "a") as made:
        take(root, MODEL, made)
    assert not (tmp_path / "a").exists()
    assert not list(tmp_path.glob(".a-*"))


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(InputError, match="is there already"), new_folder(tmp_path / "a"):
        raise AssertionError
