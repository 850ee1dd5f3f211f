"""Models that transformers saved, as ours: the same logits, whatever the head. What cannot be taken over says why."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file

from finetide import adopted, tasks
from finetide.engine.adopt import compare
from finetide.engine.inference import predict
from finetide.errors import BaseModelError
from finetide.task import Built, ModelSettings
from finetide.tasks.adopted_images import check_pixels
from support.messages import rows as messages
from support.tuned import IMAGES, NAMES, leave_behind, tuned_images, tuned_text

TEXT = "text-classification"
LABELS = tuple(sorted(NAMES))
# The head's order is not that of the sorted names.
MIXED = ("money", "account", "delivery")
TEXTS = ["Bert", "Roberta", "DistilBert", "ModernBert", "DebertaV2", "Electra", "MPNet"]


def table(count: int = 12) -> pd.DataFrame:
    """Of different lengths, so that a batch is padded."""
    texts = [" ".join([row["body"]] * (1 + place % 3)) for place, row in enumerate(messages(count, "shop", 1))]
    return pd.DataFrame(
        {"row_id": [f"a.csv:{place}" for place in range(count)], "text": texts, "label": [None] * count}
    )


def settings(folder: Path, task: str, length: int = 32) -> ModelSettings:
    pooling = adopted.pooling_of(folder, adopted.head_of(folder, task)) or "mean"
    labels = LABELS if task != "question-answering" else ("start", "end")
    extra = {"stride": 8, "max_question": 12, "max_answer": 8} if task == "question-answering" else {}
    return ModelSettings(labels, length, pooling, 0.1, None, extra=extra)


def adopt(folder: Path, task: str, made: Path, rows: pd.DataFrame, length: int = 32) -> tuple[Built, torch.nn.Module]:
    family, how = tasks.load(task), settings(folder, task, length)
    made.mkdir()
    original = family.adopt(folder, made, rows, how)
    return family.build(made, how, seed=3), original


@pytest.mark.parametrize("family", TEXTS)
def test_a_text_classifier_gives_transformers_own_logits(tmp_path: Path, family: str) -> None:
    folder, rows, task = tuned_text(tmp_path / "run", family, names=MIXED), table(), tasks.load(TEXT)
    built, original = adopt(folder, TEXT, tmp_path / "ours", rows)
    examples = task.encode(built, rows)
    found = predict(task, built, examples, batch_tokens=1000)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    batch = task.collate(built, examples, range(len(rows)))
    assert int(batch["attention_mask"].min()) == 0
    with torch.inference_mode():
        theirs = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits.numpy()
    by_name = theirs[:, [MIXED.index(label) for label in LABELS]]
    np.testing.assert_allclose(found, by_name, atol=1e-5)
    assert np.ptp(by_name, axis=0).min() > 1e-3  # else anything would agree
    assert "at most" in compare(task, built, original, examples, 200)


@pytest.mark.parametrize("family", ["Bert", "DistilBert", "ModernBert"])
def test_what_is_saved_is_built_again_with_the_same_logits(tmp_path: Path, family: str) -> None:
    folder, rows, task = tuned_text(tmp_path / "run", family), table(), tasks.load(TEXT)
    built, _ = adopt(folder, TEXT, tmp_path / "ours", rows)
    task.save(built, tmp_path / "saved")
    again = task.build(tmp_path / "saved", settings(folder, TEXT), seed=99)
    found, other = (predict(task, one, task.encode(one, rows), batch_tokens=1000) for one in (built, again))
    np.testing.assert_array_equal(found, other)
    assert (tmp_path / "saved" / "pooler.json").is_file()


def test_modernbert_may_take_the_mean(tmp_path: Path) -> None:
    folder, rows, task = (
        tuned_text(tmp_path / "run", "ModernBert", classifier_pooling="mean"),
        table(),
        tasks.load(TEXT),
    )
    built, original = adopt(folder, TEXT, tmp_path / "ours", rows)
    assert built.settings.pooling == "mean"
    compare(task, built, original, task.encode(built, rows), 1000)


@pytest.mark.parametrize("family", ["Bert", "Electra", "Roberta"])
def test_packed_rows_have_the_same_features(tmp_path: Path, family: str) -> None:
    folder, rows, task = tuned_text(tmp_path / "run", family), table(), tasks.load(TEXT)
    built, _ = adopt(folder, TEXT, tmp_path / "ours", rows)
    examples = task.encode(built, rows)
    with torch.inference_mode():
        plain, packed = (
            task.outputs(built.module, task.collate(built, examples, range(len(rows)), width=width))
            for width in (None, 64)
        )
    torch.testing.assert_close(plain, packed, atol=1e-5, rtol=0)


def test_packed_rows_have_the_same_mean(tmp_path: Path) -> None:
    folder, rows, task = tuned_text(tmp_path / "run"), table(), tasks.load(TEXT)
    adopt(folder, TEXT, tmp_path / "ours", rows)
    written = json.loads((tmp_path / "ours" / "pooler.json").read_text())
    (tmp_path / "ours" / "pooler.json").write_text(json.dumps({**written, "pooling": "mean"}))
    built = task.build(tmp_path / "ours", replace(settings(folder, TEXT), pooling="mean"), seed=3)
    examples = task.encode(built, rows)
    with torch.inference_mode():
        plain, packed = (
            task.outputs(built.module, task.collate(built, examples, range(len(rows)), width=width))
            for width in (None, 64)
        )
    torch.testing.assert_close(plain, packed, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", IMAGES)
def test_an_image_classifier_gives_transformers_own_logits(tmp_path: Path, family: str) -> None:
    folder, name = tuned_images(tmp_path / "run", family, names=MIXED), "image-classification"
    task = tasks.load(name)
    built, original = adopt(folder, name, tmp_path / "ours", pd.DataFrame())
    pixels = torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    model = transformers.AutoModelForImageClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        theirs = model(pixel_values=pixels).logits[:, [MIXED.index(label) for label in LABELS]]
        for module in (built.module, original):
            torch.testing.assert_close(task.outputs(module, {"pixel_values": pixels}), theirs, atol=1e-5, rtol=0)
    task.save(built, tmp_path / "saved")
    again = task.build(tmp_path / "saved", settings(folder, name), seed=99)
    with torch.inference_mode():
        torch.testing.assert_close(again.module(pixels), built.module(pixels), atol=0, rtol=0)


@pytest.mark.parametrize("family", ["Bert", "DistilBert", "ModernBert", "Roberta"])
def test_a_reader_gives_transformers_own_logits(tmp_path: Path, family: str) -> None:
    folder, name = tuned_text(tmp_path / "run", family, kind="QuestionAnswering"), "question-answering"
    task, asked = tasks.load(name), table(4)
    rows = asked.assign(question="where is my parcel", context=asked["text"] * 3, answers=None)
    built, original = adopt(folder, name, tmp_path / "ours", rows)
    examples = task.encode(built, rows)
    batch = task.collate(built, examples, range(len(examples.ids)))
    types = {"token_type_ids": batch["token_type_ids"]} if built.preprocessor.has_types else {}
    model = transformers.AutoModelForQuestionAnswering.from_pretrained(folder).eval()
    with torch.inference_mode():
        found = built.module(batch["input_ids"], batch["attention_mask"], batch["token_type_ids"])
        theirs = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], **types)
    torch.testing.assert_close(found[..., 0], theirs.start_logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(found[..., 1], theirs.end_logits, atol=1e-5, rtol=0)
    assert "at most" in compare(task, built, original, examples, 200)
    task.save(built, tmp_path / "saved")
    again = task.build(tmp_path / "saved", settings(folder, name), seed=99)
    with torch.inference_mode():
        same = again.module(batch["input_ids"], batch["attention_mask"], batch["token_type_ids"])
    torch.testing.assert_close(same, found, atol=0, rtol=0)


@pytest.mark.parametrize("swapped", [{"activation": "relu"}, {"activation": None}, {"dense": False}])
def test_a_wrong_translation_is_found_by_the_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swapped: dict[str, Any]
) -> None:
    folder, rows, task = tuned_text(tmp_path / "run"), table(), tasks.load(TEXT)
    right = adopted.Head.pooler
    monkeypatch.setattr(adopted.Head, "pooler", lambda head, config: right(head, config).model_copy(update=swapped))
    if "dense" in swapped:  # its weights then have no place
        with pytest.raises(RuntimeError, match=r"pooler\.dense\.weight"):
            adopt(folder, TEXT, tmp_path / "ours", rows)
        return
    built, original = adopt(folder, TEXT, tmp_path / "ours", rows)
    with pytest.raises(BaseModelError) as caught:
        compare(task, built, original, task.encode(built, rows), 1000)
    assert "does not give the answers of transformers' own: outputs differ by up to" in str(caught.value)
    assert "on 12 inputs, and 0.0001 is the most" in str(caught.value)
    assert "please report it" in str(caught.value)


def test_weights_in_half_precision_are_compared_as_float32(tmp_path: Path) -> None:
    folder, rows, task = tuned_text(tmp_path / "run"), table(), tasks.load(TEXT)
    transformers.AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.bfloat16).save_pretrained(
        folder
    )
    assert load_file(folder / "model.safetensors")["classifier.weight"].dtype == torch.bfloat16
    built, original = adopt(folder, TEXT, tmp_path / "ours", rows)
    assert {value.dtype for value in built.module.parameters()} == {torch.float32}
    compare(task, built, original, task.encode(built, rows), 1000)


def test_what_a_trainer_leaves_is_not_read(tmp_path: Path) -> None:
    folder = tuned_text(tmp_path / "run")
    leave_behind(folder)
    adopted.check_folder(folder)
    adopt(folder, TEXT, tmp_path / "ours", table())
    assert not (folder / "ran").exists()


def edited(folder: Path, **keys: Any) -> Path:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in {**config, **keys}.items() if value is not None}))
    return folder


@pytest.mark.parametrize(
    ("keys", "task", "said"),
    [
        ({"model_type": "gpt2"}, TEXT, "text-classification can adopt no head of this architecture"),
        ({"architectures": ["BertForMaskedLM"]}, TEXT, "names none that ends in ForSequenceClassification"),
        ({"architectures": None}, TEXT, "finetide init --base"),
        ({"problem_type": "regression"}, TEXT, "does not choose one label of several a row"),
        ({"problem_type": "multi_label_classification"}, TEXT, "found 'multi_label_classification'"),
        ({"id2label": {"0": "score"}}, TEXT, "found 'one output'"),
        ({}, "question-answering", "is no model for question-answering"),
    ],
)  # fmt: skip
def test_a_head_that_cannot_be_adopted(tmp_path: Path, keys: dict[str, Any], task: str, said: str) -> None:
    folder = edited(tuned_text(tmp_path / "run"), **keys)
    with pytest.raises(BaseModelError) as caught:
        adopted.head_of(folder, task)
    assert said in str(caught.value)


def test_folders_without_weights(tmp_path: Path) -> None:
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    with pytest.raises(BaseModelError, match="holds an adapter and not the model") as caught:
        adopted.check_folder(tmp_path / "adapter")
    assert "merge it first: model.merge_and_unload().save_pretrained(FOLDER)" in str(caught.value)
    for number in (9, 500, 1000):
        (tmp_path / "run" / f"checkpoint-{number}").mkdir(parents=True)
    with pytest.raises(
        BaseModelError, match=r"only checkpoints \(checkpoint-9, checkpoint-500, checkpoint-1000\)"
    ) as caught:
        adopted.check_folder(tmp_path / "run")
    assert "e.g. " + str(tmp_path / "run" / "checkpoint-1000") in str(caught.value)


@pytest.mark.parametrize(
    ("names", "wanted", "found"),
    [
        (MIXED, LABELS, MIXED),
        (MIXED, ("account", "money"), MIXED),  # one that no row has
        (("LABEL_0", "LABEL_1", "LABEL_2"), ("0", "1", "2"), ("0", "1", "2")),
        (None, ("0", "1"), ("0", "1")),  # transformers leaves two generic names out
        (MIXED, ("0", "2"), ("0", "1", "2")),  # the numbers that training had
        (("1", "2", "3"), ("1", "3"), ("1", "2", "3")),  # names that are numbers are names
    ],
)
def test_labels_by_name_or_number(
    tmp_path: Path, names: tuple[str, ...] | None, wanted: tuple[str, ...], found: tuple[str, ...]
) -> None:
    assert adopted.labels_of(tuned_text(tmp_path / "run", names=names), wanted) == found


@pytest.mark.parametrize(
    ("names", "wanted", "said"),
    [
        (
            ("LABEL_0", "LABEL_1"),
            ("ham", "spam"),
            "names its labels LABEL_0, LABEL_1, … (id2label), which does not say which is which of the data's (found "
            "'ham, spam')\n  fix: write their names into id2label, in the order that training had, e.g. "
            '{"0": "ham", "1": "spam", …}',
        ),
        (
            MIXED,
            ("account", "refund"),
            "the model does not know labels that the data have: refund (found 'id2label: account, delivery, money')\n  "
            "fix: if they are known under other names, write the data's into id2label; if they are new, leave their "
            "rows out and bring them with `finetide advance` once the model is in service",
        ),
        (("1", "2", "3"), ("0", "1", "2"), "the model does not know labels that the data have: 0"),
        (("a", "a"), ("a", "b"), "id2label must give every output from 0 on a name of its own"),
    ],
)
def test_labels_that_do_not_fit(tmp_path: Path, names: tuple[str, ...], wanted: tuple[str, ...], said: str) -> None:
    folder = edited(tuned_text(tmp_path / "run"), id2label={str(place): name for place, name in enumerate(names)})
    with pytest.raises(BaseModelError) as caught:
        adopted.labels_of(folder, wanted)
    assert said in str(caught.value)


def test_weights_that_are_not_the_configs(tmp_path: Path) -> None:
    folder = tuned_text(tmp_path / "run")
    state = load_file(folder / "model.safetensors")
    for changed, said in (
        ({name: state[name] for name in state if "classifier" not in name}, "lacks 2 weights, first 'classifier.bias'"),
        ({**state, "adapter.weight": torch.ones(2)}, "has, beside the model's own, 1 weights, first 'adapter.weight'"),
    ):  # fmt: skip
        save_file(changed, folder / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(BaseModelError) as caught:
            adopt(folder, TEXT, tmp_path / said[:5].strip(), table())
        assert said in str(caught.value)
        assert "save the fine-tuned model with save_pretrained" in str(caught.value)


def test_more_outputs_than_names_and_weights_of_another_size(tmp_path: Path) -> None:
    rows = table(2).assign(question="where", context="my parcel is here")
    reader = tuned_text(tmp_path / "reader", kind="QuestionAnswering", num_labels=3)
    with pytest.raises(BaseModelError, match="the head has 3 outputs, and 2 are named"):
        adopt(reader, "question-answering", tmp_path / "a", rows)
    folder = edited(tuned_text(tmp_path / "run"), id2label={"0": "account", "1": "delivery", "2": "money", "3": "x"})
    with pytest.raises(BaseModelError, match="the weights are not those of the config: "):
        adopt(folder, TEXT, tmp_path / "b", table())


def test_a_tokenizer_that_transformers_reads_otherwise(tmp_path: Path) -> None:
    folder = tuned_text(tmp_path / "run")
    path = folder / "tokenizer.json"
    path.write_text(
        path.read_text()
        .replace('"lowercase":true', '"lowercase":false')
        .replace('"lowercase": true', '"lowercase": false')
    )
    rows = table().assign(text=lambda one: one["text"].str.upper())
    with pytest.raises(BaseModelError) as caught:
        adopt(folder, TEXT, tmp_path / "ours", rows)
    assert "makes other tokens of a text than transformers' own tokenizer does" in str(caught.value)
    assert "save the tokenizer that training used once more" in str(caught.value)
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "T5Tokenizer"}')
    with pytest.raises(BaseModelError, match="transformers cannot read its own tokenizer: "):
        adopt(folder, TEXT, tmp_path / "other", rows)


def test_another_pooling_is_refused(tmp_path: Path) -> None:
    folder, task = tuned_text(tmp_path / "run"), tasks.load(TEXT)
    adopt(folder, TEXT, tmp_path / "ours", table())
    with pytest.raises(BaseModelError) as caught:
        task.build(tmp_path / "ours", replace(settings(folder, TEXT), pooling="mean"), seed=3)
    assert "was adopted with the pooling cls, and train.pooling is another" in str(caught.value)
    assert "write train.pooling: cls; or start from the base: train.start: base" in str(caught.value)


@pytest.mark.parametrize(
    ("truncation", "model_max_length", "positions", "found"),
    [
        ({"max_length": 48}, 64, 64, (48, "where the tokenizer cut texts (tokenizer.json)")),
        ({"max_length": 480}, None, 64, (64, "where the tokenizer cut texts (tokenizer.json)")),
        (None, 32, 64, (32, "model_max_length (tokenizer_config.json)")),
        (None, 1e30, 64, (64, "the positions that the model has (config.json)")),
        (None, None, None, None),
    ],
)
def test_how_many_tokens_it_read(
    tmp_path: Path, truncation: Any, model_max_length: Any, positions: int | None, found: Any
) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps({"truncation": truncation}))
    if model_max_length is not None:
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({"model_max_length": model_max_length}))
    assert adopted.tokens_read(tmp_path, positions) == found


def picture(width: int, height: int, seed: int = 0) -> bytes:
    stream = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(noise).save(stream, "PNG")
    return stream.getvalue()


CROP = {"do_center_crop": True, "crop_size": {"height": 32, "width": 32}}


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("ViTImageProcessor", {}),
        ("BitImageProcessor", {"size": {"shortest_edge": 36}, **CROP, "resample": 3}),
        ("MobileNetV2ImageProcessor", {"size": {"shortest_edge": 40}, **CROP}),
        ("ConvNextImageProcessor", {"size": {"shortest_edge": 32}, "crop_pct": 0.8}),
    ],
)
def test_images_are_prepared_as_transformers_does(tmp_path: Path, kind: str, keys: dict[str, Any]) -> None:
    path = tuned_images(tmp_path / "run", "ViT") / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "image_processor_type": kind, **keys}))
    images = [picture(50, 71), picture(90, 41), picture(32, 32)]
    check_pixels(tmp_path / "run", images, 32)


@pytest.mark.parametrize(
    ("kind", "keys", "said"),
    [
        ("DeiTImageProcessor", {"size": {"height": 40, "width": 40}, **CROP}, "(found 'off by up to "),
        ("ViTImageProcessor", {"size": {"height": 32, "width": 40}}, "(found '(3, 32, 40), not (3, 32, 32)')"),
        ("NoSuchProcessor", {}, "transformers cannot use its own image processor: "),
    ],
)
def test_images_that_are_prepared_otherwise(tmp_path: Path, kind: str, keys: dict[str, Any], said: str) -> None:
    path = tuned_images(tmp_path / "run", "ViT") / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "image_processor_type": kind, **keys}))
    task, rows = tasks.load("image-classification"), pd.DataFrame({"bytes": [picture(50, 71)]})
    with pytest.raises(BaseModelError) as caught:
        task.adopt(tmp_path / "run", tmp_path, rows, ModelSettings(LABELS, 32, "cls", 0.0))
    assert said in str(caught.value)
    if "found" in said:
        assert "makes other pixels of an image than Finetide does" in str(caught.value)
        assert "bring the images to the model's size first" in str(caught.value)


@pytest.mark.parametrize("kind", ["text-classification", "question-answering"])
def test_a_base_in_half_precision_is_trained_in_float32(tmp_path: Path, kind: str) -> None:
    folder = tuned_text(tmp_path / "run")
    half = transformers.AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.bfloat16)
    half.save_pretrained(folder)
    extra = {"stride": 8, "max_question": 12, "max_answer": 8} if kind == "question-answering" else {}
    built = tasks.load(kind).build(folder, ModelSettings(LABELS, 32, "mean", 0.1, extra=extra), seed=1)
    assert {value.dtype for value in built.module.parameters()} == {torch.float32}
