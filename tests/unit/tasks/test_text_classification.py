from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from finetide import tasks
from finetide.errors import BaseModelError, ConfigError, DataError
from finetide.task import ModelSettings
from support.micro import HIDDEN, micro_base

TASK = tasks.load("text-classification")
ROWS = pd.DataFrame({"row_id": ["a:1", "a:2"], "text": ["refund my parcel please", "login"], "label": ["x", None]})


def settings(*labels: str, length: int = 16, pooling: str = "mean") -> ModelSettings:
    return ModelSettings(labels or ("x", "y"), length, pooling, 0.0)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("b") / "base"
    micro_base(folder)
    return folder


def test_an_unknown_family_is_named() -> None:
    with pytest.raises(ConfigError, match=r"unknown task \(found 'poetry'\)\n  fix: known: text-classification"):
        tasks.load("poetry")


def test_what_is_saved_comes_back(base: Path, tmp_path: Path) -> None:
    built = TASK.build(base, settings(), seed=1)
    with torch.no_grad():
        built.module.get_parameter("head.weight").normal_()
    TASK.save(built, tmp_path / "m")
    again = TASK.build(tmp_path / "m", settings(), seed=2)
    batch = TASK.collate(built, TASK.encode(built, ROWS), [0, 1])
    assert torch.equal(TASK.outputs(built.module, batch), TASK.outputs(again.module, batch))
    assert "micro" not in (tmp_path / "m" / "config.json").read_text()
    assert json.loads((tmp_path / "m" / "labels.json").read_text()) == ["x", "y"]
    TASK.save(again, tmp_path / "n")
    for path in (tmp_path / "m").iterdir():
        assert path.read_bytes() == (tmp_path / "n" / path.name).read_bytes()


def test_padding_changes_nothing(base: Path) -> None:
    built = TASK.build(base, settings(), seed=1)
    examples = TASK.encode(built, ROWS)
    both = TASK.features(built.module, TASK.collate(built, examples, [0, 1]))
    alone = TASK.features(built.module, TASK.collate(built, examples, [1]))
    assert torch.allclose(both[1], alone[0], atol=1e-6)


def test_mean_and_cls_pooling_are_what_they_say_scaled_to_one_length(base: Path) -> None:
    mean, first = (TASK.build(base, settings(pooling=pooling), seed=1) for pooling in ("mean", "cls"))
    batch = TASK.collate(mean, TASK.encode(mean, ROWS), [0])
    hidden = mean.module.encoder(**{name: batch[name] for name in ("input_ids", "attention_mask")}).last_hidden_state  # type: ignore[operator,union-attr]
    for built, pooled in ((mean, hidden.mean(1)), (first, hidden[:, 0])):
        features = TASK.features(built.module, batch)
        assert torch.allclose(features, pooled / pooled.norm() * HIDDEN**0.5, atol=1e-5)


def test_labels_become_targets_and_unknown_ones_are_refused(base: Path) -> None:
    built = TASK.build(base, settings(), seed=1)
    assert TASK.encode(built, ROWS).targets.tolist() == [0, -1]
    with pytest.raises(DataError, match=r"a:1: the model has no such label \(found 'z'\)"):
        TASK.encode(built, ROWS.assign(label=["z", None]))


def test_long_texts_are_cut_and_keep_their_end_sign(base: Path) -> None:
    built = TASK.build(base, settings(length=8), seed=1)
    examples = TASK.encode(built, ROWS.assign(text=["parcel " * 100, "parcel"]))
    assert examples.lengths.tolist() == [8, 3]
    assert examples.inputs[0][-1] == examples.inputs[1][-1]


def test_more_tokens_than_the_model_takes_is_refused(base: Path) -> None:
    with pytest.raises(BaseModelError, match=r"takes at most 64 tokens \(found 65\)"):
        TASK.build(base, settings(length=65), seed=1)


def test_new_labels_grow_the_head_and_keep_the_old_ones(base: Path, tmp_path: Path) -> None:
    built = TASK.build(base, settings("b", "d"), seed=1)
    with torch.no_grad():
        built.module.get_parameter("head.weight").normal_()
    TASK.save(built, tmp_path / "m")
    grown = TASK.build(tmp_path / "m", settings("a", "b", "c", "d"), seed=1)
    old, new = built.module.get_parameter("head.weight"), grown.module.get_parameter("head.weight")
    assert torch.equal(new[[1, 3]], old)
    with pytest.raises(BaseModelError, match="was trained with labels that are not wanted any more: d"):
        TASK.build(tmp_path / "m", settings("a", "b"), seed=1)


def test_missing_and_misshapen_weights_are_named(base: Path, tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((base / name).read_bytes())
    state = load_file(base / "model.safetensors")
    name = next(key for key in state if "word_embeddings" in key)
    save_file({key: value for key, value in state.items() if key != name}, tmp_path / "model.safetensors")
    with pytest.raises(BaseModelError, match="lacks 1 of the encoder's weights"):
        TASK.build(tmp_path, settings(), seed=1)
    save_file({**state, name: state[name][:5].clone()}, tmp_path / "model.safetensors")
    with pytest.raises(BaseModelError, match=r"has shape \[5, 32\], the config says"):
        TASK.build(tmp_path, settings(), seed=1)


def test_a_prefixed_checkpoint_loads(base: Path, tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((base / name).read_bytes())
    state = {f"bert.{name}": value for name, value in load_file(base / "model.safetensors").items()}
    save_file({**state, "cls.predictions.bias": torch.zeros(3)}, tmp_path / "model.safetensors")
    one, other = TASK.build(base, settings(), seed=1), TASK.build(tmp_path, settings(), seed=1)
    batch = TASK.collate(one, TASK.encode(one, ROWS), [0])
    assert torch.equal(TASK.features(one.module, batch), TASK.features(other.module, batch))


def other_base(folder: Path, base: Path, kind: str, **changes: object) -> Path:
    """A tiny random encoder of another architecture, with the tokenizer of ``base``."""
    from transformers import AutoConfig, AutoModel

    size = {
        "vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
        "max_position_embeddings": 40, "pad_token_id": 1,
    }  # fmt: skip
    config = AutoConfig.for_model(kind, **{**size, **changes})
    AutoModel.from_config(config).save_pretrained(folder)
    (folder / "tokenizer.json").write_bytes((base / "tokenizer.json").read_bytes())
    return folder


@pytest.mark.parametrize(("kind", "limit"), [("roberta", 38), ("distilbert", 40), ("mpnet", 38), ("electra", 40)])
def test_other_encoders_load_save_and_ignore_padding(base: Path, tmp_path: Path, kind: str, limit: int) -> None:
    folder = other_base(tmp_path / "base", base, kind)
    built = TASK.build(folder, settings(length=limit), seed=1)
    rows = ROWS.assign(text=["refund my parcel please " * 20, "login"])
    examples = TASK.encode(built, rows)
    assert examples.lengths[0] == limit
    both = TASK.collate(built, examples, [0, 1])
    assert set(both) == {"input_ids", "attention_mask", "targets"}
    assert int(both["input_ids"][1, -1]) == 1  # the padding id of its config
    alone = TASK.features(built.module, TASK.collate(built, examples, [1]))
    assert torch.allclose(TASK.features(built.module, both)[1], alone[0], atol=1e-5)
    TASK.save(built, tmp_path / "saved")
    again = TASK.build(tmp_path / "saved", settings(length=limit), seed=2)
    assert torch.equal(TASK.features(again.module, both), TASK.features(built.module, both))
    with pytest.raises(BaseModelError, match=rf"takes at most {limit} tokens \(found {limit + 1}\)"):
        TASK.build(folder, settings(length=limit + 1), seed=1)


def test_an_architecture_that_is_no_known_encoder_is_refused(base: Path, tmp_path: Path) -> None:
    for kind in ("gpt2", "t5"):
        (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
        with pytest.raises(BaseModelError, match=rf"does not know this architecture \(found '{kind}'\)\n  fix: use"):
            TASK.build(tmp_path, settings(), seed=1)


def test_before_training_every_label_scores_the_same(base: Path) -> None:
    built = TASK.build(base, settings(), seed=1)
    batch = TASK.collate(built, TASK.encode(built, ROWS), [0, 1])
    assert TASK.outputs(built.module, batch).abs().sum() == 0
    losses = TASK.loss(torch.tensor([[2.0, 0.0]]), {"targets": torch.tensor([0])})
    assert losses.tolist() == pytest.approx([0.126928], abs=1e-5)


def test_the_module_to_export_gives_the_logits(base: Path) -> None:
    built = TASK.build(base, settings(), seed=1)
    torch.nn.init.normal_(built.module.get_parameter("head.weight"))
    spec = TASK.export(built)
    batch = TASK.collate(built, TASK.encode(built, ROWS), [0, 1])
    assert spec.output == "logits"
    assert set(spec.dynamic) == set(spec.inputs)
    assert torch.equal(spec.module(*(batch[name] for name in spec.inputs)), TASK.outputs(built.module, batch))
