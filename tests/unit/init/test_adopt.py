"""`finetide adopt`: what it finds out from a checkpoint's files, what it writes, and each refusal by its text."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from finetide.cli.main import cli
from finetide.config.load import read_yaml
from finetide.errors import BaseModelError, FinetideError, InputError
from finetide.files import sha256_file
from finetide.init.adopt import look
from finetide.init.project import create
from support.messages import rows, write_csv
from support.tuned import leave_behind, tuned_images, tuned_text
from unit.init.test_project import wanted

ORDER = ("money", "account", "delivery")


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "shop.csv", rows(60, "shop", 1))


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return tuned_text(tmp_path / "run", names=ORDER)


def refused(root: Path, folder: Path, shop: Path, **changes: Any) -> str:
    with pytest.raises(FinetideError) as caught:
        list(create(root, wanted(folder, shop, adopted=True, **changes)))
    assert not root.exists()
    return str(caught.value)


def test_the_project_pins_the_model_and_its_window_adopts(tmp_path: Path, run_dir: Path, shop: Path) -> None:
    leave_behind(run_dir)
    root = tmp_path / "project"
    said = list(create(root, wanted(run_dir, shop, adopted=True)))
    assert f"adopts {run_dir}: its head stays as it is, nothing is trained for v1" in said
    assert said[-1].startswith(f"next: cd {root} && git add . && ")
    assert said[-1].endswith(" && finetide run")
    model = read_yaml(root / "params.yaml")["models"]["mail"]
    assert model["base"]["source"] == f"path:{run_dir}"
    assert model["base"]["sha256"] == sha256_file(run_dir / "model.safetensors")
    assert {name: model["train"][name] for name in ("start", "pooling", "max_length")} == {
        "start": "champion", "pooling": "cls", "max_length": 64,
    }  # fmt: skip
    window = json.loads((root / "data" / "mail" / "window.json").read_text())
    assert (window["start"], window["champion"]) == ("adopted", None)
    assert not (run_dir / "ran").exists()


@pytest.mark.parametrize(
    ("asked", "changed", "said"),
    [
        (None, {}, "train.max_length: 64, model_max_length (tokenizer_config.json); longer texts are cut"),
        (40, {}, "train.max_length: 40, as --max-length says"),
        (None, {"positions": 4096, "model_max_length": 2048}, "train.max_length: 512; model_max_length (tokenizer_"),
        (None, {"truncation": 48}, "train.max_length: 48, where the tokenizer cut texts (tokenizer.json)"),
    ],
)
def test_how_long_texts_may_be(run_dir: Path, asked: int | None, changed: dict[str, int], said: str) -> None:
    for name, key, value in (
        ("config.json", "max_position_embeddings", changed.get("positions")),
        ("tokenizer_config.json", "model_max_length", changed.get("model_max_length")),
        ("tokenizer.json", "truncation", {"max_length": changed["truncation"]} if "truncation" in changed else None),
    ):
        if value is not None:
            content = json.loads((run_dir / name).read_text())
            (run_dir / name).write_text(json.dumps({**content, key: value}))
    found = look(run_dir, "text-classification", set(ORDER), asked)
    assert found.lines[-1].startswith(said)
    assert str(found.train["max_length"]) in said


def test_a_model_that_knows_more_labels_is_tuned_from_a_new_head(tmp_path: Path) -> None:
    folder = tuned_text(tmp_path / "run", names=(*ORDER, "other"))
    found = look(folder, "text-classification", set(ORDER), None)
    assert found.train["start"] == "base"
    assert found.lines[1] == (
        "labels: 4 of the model, 3 of them in the data; it may still answer other, and later trainings start with a "
        "new head (train.start: base)"
    )


def test_images_have_the_size_that_their_processor_says(tmp_path: Path) -> None:
    folder = tuned_images(tmp_path / "run", "ViT")
    found = look(folder, "image-classification", set(ORDER), None)
    assert found.train == {"start": "champion", "pooling": "cls"}
    with pytest.raises(InputError, match="--max-length: is for texts and questions"):
        look(folder, "image-classification", set(ORDER), 64)


def test_folders_that_hold_no_model_to_adopt(tmp_path: Path, run_dir: Path, shop: Path) -> None:
    root = tmp_path / "project"
    leave_behind(run_dir)
    weights = run_dir / "model.safetensors"
    weights.unlink()
    assert "has no model.safetensors of its own, only checkpoints (checkpoint-6)" in refused(root, run_dir, shop)
    shutil.rmtree(run_dir / "checkpoint-6")
    said = refused(root, run_dir, shop)
    assert "has no model.safetensors\n" in said, "what the Trainer leaves is no model, pickled or not"
    (run_dir / "pytorch_model.bin").write_bytes(b"")
    assert "only pickled weights are there (pytorch_model.bin), which are never read" in refused(root, run_dir, shop)
    (run_dir / "model-00001-of-00002.safetensors").write_bytes(b"")
    assert 'save_pretrained(…, max_shard_size="100GB")' in refused(root, run_dir, shop)
    (run_dir / "adapter_config.json").write_text("{}")
    assert "holds an adapter and not the model" in refused(root, run_dir, shop)


def test_what_does_not_fit_leaves_nothing(tmp_path: Path, run_dir: Path, shop: Path) -> None:
    root = tmp_path / "project"
    arriving = write_csv(tmp_path / "new.csv", [{**row, "intent": "refund"} for row in rows(9, "bank", 1)])
    said = refused(root, run_dir, shop, incoming=(arriving,))
    assert "the model does not know labels that the data have: refund" in said
    assert "the model reads at most 64 tokens" in refused(root, run_dir, shop, max_length=65)
    picture = tuned_images(tmp_path / "pictures", "ViT")
    assert f"RUN_DIR {picture}: is a base for images" in refused(root, picture, shop)
    (run_dir / "tokenizer.json").unlink()
    assert "has no tokenizer.json" in refused(root, run_dir, shop)


def test_the_verb(tmp_path: Path, run_dir: Path, shop: Path) -> None:
    data = ["--task", "text-classification", "--name", "mail", "--reference", str(shop), "--text", "body"]
    found = CliRunner().invoke(cli, ["adopt", str(tmp_path / "gone"), str(tmp_path / "p"), *data, "--label", "intent"])
    assert isinstance(found.exception, InputError)
    assert "RUN_DIR: no such folder" in str(found.exception)
    missing = CliRunner().invoke(cli, ["adopt", str(run_dir), str(tmp_path / "p"), *data])
    assert "Missing option '--label'" in missing.output
    base = CliRunner().invoke(cli, ["adopt", str(shop.parent), str(tmp_path / "p"), *data, "--label", "intent"])
    assert isinstance(base.exception, BaseModelError)
