"""The second family: built from any vision encoder, one tensor for training and serving, frozen batch-norm."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from finetide import tasks
from finetide.config.export import ExportParams
from finetide.config.images import ImageEvaluateParams
from finetide.contracts.bundle import BundleInfo, Examples
from finetide.errors import BaseModelError, ConfigError, DataError, InputError, IntegrityError
from finetide.export import onnx_file
from finetide.export.pack import pack
from finetide.layers.freeze import frozen
from finetide.runtime import load, verify
from finetide.runtime.graph import open_session
from finetide.stages.export import prove, served_inputs
from finetide.task import Built, ModelSettings
from support.images import FAMILIES, LABELS, SIDE, members, micro_vision

TASK = tasks.load("image-classification")
PARAMS = ExportParams(opset=18, max_abs_error=1e-4, min_agreement=0.999, int8=False, int8_max_drop=0.05)
SETTINGS = ModelSettings(LABELS, SIDE, "mean", 0.0)
EVALUATE = ImageEvaluateParams(bootstrap=10, confidence=0.9, calibration_bins=5, zero_shot_examples=2)


def table(count: int = 6) -> pd.DataFrame:
    files = members(count)
    return pd.DataFrame(
        {
            "row_id": [f"x.zip:{place}" for place in range(len(files))],
            "label": [name.split("/")[0] for name in files],
            "split": [("train", "test")[place % 2] for place in range(len(files))],
            "digest": [str(place) for place in range(len(files))],
            "bytes": list(files.values()),
        }
    )


def build(folder: Path, family: str = "ViT", settings: ModelSettings = SETTINGS) -> Built:
    micro_vision(folder, family)
    return TASK.build(folder, settings, seed=1)


def train(built: Built, rows: pd.DataFrame, steps: int = 8) -> list[float]:
    batch = TASK.collate(built, TASK.encode(built, rows), range(len(rows)))
    learning = [value for value in built.module.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=1e-3)
    losses = []
    built.module.train()
    for _ in range(steps):
        loss = TASK.loss(TASK.outputs(built.module, batch), batch).mean()
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    built.module.eval()
    return losses


def packed(folder: Path, built: Built) -> Path:
    """A bundle in ``folder``."""
    folder.mkdir()
    prepared, inputs = TASK.preprocessing(built), served_inputs(TASK, built)
    (folder / prepared.name).write_bytes(prepared.content)
    onnx_file.export(TASK.export(built), folder / "model.onnx", opset=18)
    session = open_session(folder / "model.onnx")
    shown = []
    for value in table(1)["bytes"]:
        logits = inputs.run(session, inputs.encode([value]), len(LABELS))[0]
        shown.append(
            {"image": inputs.example(value), "label": LABELS[int(logits.argmax())], "logits": list(map(float, logits))}
        )
    info = BundleInfo(
        model="shapes", task=TASK.name, labels=LABELS, inputs=("pixel_values",), max_length=SIDE, pad_token_id=None,
        temperature=1.5, default_graph="model.onnx", machine="test",
    )  # fmt: skip
    examples = Examples.model_validate({"max_abs_error": 1e-4, "examples": shown})
    pack(folder, info=info, examples=examples, card="# shapes\n", lineage={})
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Built:
    built = build(tmp_path_factory.mktemp("vit") / "base")
    losses = train(built, table())
    assert losses[-1] < losses[0]
    return built


@pytest.fixture(scope="module")
def bundle(trained: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed(tmp_path_factory.mktemp("bundle") / "b", trained)


@pytest.mark.parametrize(
    "family", [pytest.param(name, marks=[pytest.mark.slow] * (name != "ResNet")) for name in FAMILIES]
)
def test_the_file_of_each_family_says_what_the_model_says(family: str, tmp_path: Path) -> None:
    built = build(tmp_path / "base", family)
    losses = train(built, table())
    assert losses[-1] < losses[0]
    TASK.save(built, tmp_path / "tuned")
    again = TASK.build(tmp_path / "tuned", built.settings, seed=9)
    for (name, one), other in zip(built.module.state_dict().items(), again.module.state_dict().values(), strict=True):
        assert torch.equal(one, other), name
    onnx_file.export(TASK.export(again), tmp_path / "model.onnx", opset=18)
    found = prove(TASK, again, tmp_path / "model.onnx", table(), PARAMS, seed=1)
    assert found.max_abs_error < 1e-4
    assert {check.batch for check in found.shapes} == {1, 2, 3, 17}


def test_training_and_serving_read_the_same_tensor_bit_for_bit(trained: Built) -> None:
    rows = table(3)
    batch = TASK.collate(trained, TASK.encode(trained, rows), range(len(rows)))["pixel_values"].numpy()
    seen: list[np.ndarray[Any, Any]] = []

    class Session:
        def run(self, _: object, feed: dict[str, Any]) -> list[Any]:
            seen.append(feed["pixel_values"])
            return [np.zeros((len(feed["pixel_values"]), 3), np.float32)]

    inputs = served_inputs(TASK, trained)
    inputs.run(Session(), inputs.encode(list(rows["bytes"])), 3)  # type: ignore[arg-type]
    assert np.concatenate(seen).tobytes() == batch.tobytes()


def test_a_bundle_answers_as_the_model_does(bundle: Path, trained: Built, tmp_path: Path) -> None:
    rows = table(4)
    predictor = load(bundle)
    with torch.inference_mode():
        wanted = trained.module(TASK.collate(trained, TASK.encode(trained, rows), range(len(rows)))["pixel_values"])
    np.testing.assert_allclose(predictor.logits(list(rows["bytes"])), wanted.numpy(), atol=1e-5)
    path = tmp_path / "one.png"
    path.write_bytes(rows["bytes"][0])
    assert predictor.predict([path])[0] == predictor.predict([rows["bytes"][0]])[0]
    assert verify(bundle).examples == 3
    assert predictor.predict([]) == []


def test_wrong_input_is_named(bundle: Path) -> None:
    predictor = load(bundle)
    with pytest.raises(InputError, match=r"takes a list of images, not one image"):
        predictor.predict(b"x")
    with pytest.raises(InputError, match=r"images\[1\]: is no image \(found 'int'\)"):
        predictor.predict([b"x", 3])
    with pytest.raises(InputError, match=r"images\[0\]: is no image\n  fix: bring it as one of"):
        predictor.predict([b"hello"])
    with pytest.raises(InputError, match=r"images\[0\] \(no.png\): is no file"):
        predictor.predict(["no.png"])


def test_a_damaged_spec_is_refused(bundle: Path, tmp_path: Path) -> None:
    from shutil import copytree

    from finetide.files import sha256_file, write_json

    copy = copytree(bundle, tmp_path / "b")
    spec = json.loads((copy / "image.json").read_text())
    write_json(copy / "image.json", {**spec, "mean": [0.5]})
    with pytest.raises(IntegrityError, match=r"image.json: is not what the manifest promises"):
        load(copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["files"]["image.json"] = sha256_file(copy / "image.json")
    write_json(copy / "manifest.json", manifest)
    with pytest.raises(IntegrityError, match=r"is no image spec: mean and std need one number a channel"):
        load(copy)
    del manifest["files"]["image.json"]
    write_json(copy / "manifest.json", manifest)
    with pytest.raises(IntegrityError, match=r"files: does not name image.json"):
        load(copy)


BLOCKER = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "transformers", "tokenizers", "pandas", "pydantic", "sklearn"}:
            raise ImportError(f"blocked: {name}")
sys.meta_path.insert(0, Blocker())
from pathlib import Path
from finetide.runtime import load
print(load(sys.argv[1]).predict([Path(sys.argv[2])])[0].label)
"""


def test_it_serves_with_numpy_pillow_and_onnxruntime_alone(bundle: Path, tmp_path: Path) -> None:
    data = table(1)["bytes"][0]
    (tmp_path / "one.png").write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", BLOCKER, str(bundle), str(tmp_path / "one.png")], capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == load(bundle).predict([data])[0].label


def test_frozen_batch_norm_stands_still_and_free_one_moves(tmp_path: Path) -> None:
    built = build(tmp_path / "base", "ResNet")
    names = [name for name, _ in built.module.named_parameters() if name.startswith("encoder.")]
    before = {name: value.clone() for name, value in built.module.state_dict().items()}
    with frozen(built.module, names):
        train(built, table(), steps=2)
    after = built.module.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before if name.startswith("encoder."))
    train(built, table(), steps=2)
    moved = [name for name in before if "running_mean" in name and not torch.equal(before[name], after[name])]
    assert moved


def test_other_sizes_than_the_bases_are_interpolated(tmp_path: Path) -> None:
    built = build(tmp_path / "base", "ViT", ModelSettings(LABELS, 48, "cls", 0.0))
    batch = TASK.collate(built, TASK.encode(built, table(1)), range(3))
    assert batch["pixel_values"].shape == (3, 3, 48, 48)
    assert TASK.outputs(built.module, batch).shape == (3, 3)


def test_equal_images_have_equal_keys_and_others_do_not(trained: Built) -> None:
    rows = pd.concat([table(2), table(2)], ignore_index=True)
    keys = TASK.encode(trained, rows).keys
    assert len(set(keys)) == len(keys) // 2
    assert keys[:6] == keys[6:]


def test_what_zero_shot_compares_with(trained: Built) -> None:
    rows = table(10)
    found = TASK.anchors(rows, LABELS, EVALUATE)
    assert found.name == "nearest mean of 2"
    assert np.bincount(found.owner).tolist() == [2, 2, 2]
    assert set(found.rows["split"]) == {"train"}
    shuffled = TASK.anchors(rows.sample(frac=1.0, random_state=3), LABELS, EVALUATE)
    assert set(shuffled.rows["row_id"]) == set(found.rows["row_id"])


def test_refusals(trained: Built, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no adapt phase"):
        TASK.objective("masked-language")
    with pytest.raises(DataError, match=r"x.zip:0: the model has no such label \(found 'cross'\)"):
        TASK.encode(trained, table(1).assign(label="cross"))
    with pytest.raises(DataError, match=r"x.zip:0: is no image"):
        TASK.encode(trained, table(1).assign(bytes=b"x"))
    with pytest.raises(BaseModelError, match="has no class token"):
        build(tmp_path / "resnet", "ResNet", ModelSettings(LABELS, SIDE, "cls", 0.0))
    micro_vision(tmp_path / "base")
    config = json.loads((tmp_path / "base" / "config.json").read_text())
    (tmp_path / "base" / "config.json").write_text(json.dumps({**config, "model_type": "bert"}))
    with pytest.raises(BaseModelError, match=r"does not know this architecture \(found 'bert'\)"):
        TASK.build(tmp_path / "base", SETTINGS, seed=1)
    (tmp_path / "base" / "preprocessor_config.json").write_text("[")
    (tmp_path / "base" / "config.json").write_text(json.dumps(config))
    with pytest.raises(BaseModelError, match=r"preprocessor_config.json: cannot be read"):
        TASK.build(tmp_path / "base", SETTINGS, seed=1)
