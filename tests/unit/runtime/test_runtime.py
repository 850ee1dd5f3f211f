"""Serving: verified before use, right in any order and shape, free of everything heavy."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from finetide.errors import FinetideError, InputError, IntegrityError, ProjectError
from finetide.files import canonical_json, sha256_file
from finetide.runtime import load, verify
from support.bundles import bundle, micro_model, table

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    return bundle(folder / "bundle", micro_model(folder / "base"))


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "b"))


def test_predictions_keep_the_order_in_every_batch(made: Path) -> None:
    predictor = load(made)
    texts = list(table(300)["text"])
    together = predictor.logits(texts)
    alone = np.stack([predictor.logits([text])[0] for text in texts[:40]])
    np.testing.assert_allclose(together[:40], alone, atol=1e-5)
    found = predictor.predict(texts)
    assert [predictor.labels.index(one.label) for one in found] == together.argmax(1).tolist()
    for one in found[:5]:
        assert sum(one.scores.values()) == pytest.approx(1.0)
        assert one.score == max(one.scores.values()) == one.scores[one.label]


def test_odd_texts_are_served(made: Path) -> None:
    predictor = load(made)
    odd = ["", "   ", "parcel " * 5000, "🙂 é 漢字", "\x00", "a"]
    assert len(predictor.predict(odd)) == len(odd)
    assert predictor.predict([]) == []


def test_wrong_input_is_named(made: Path) -> None:
    predictor = load(made)
    with pytest.raises(InputError, match="takes a list of texts, not one text"):
        predictor.predict("text")
    with pytest.raises(InputError, match=r"texts\[1\]: is no text \(found 'NoneType'\)"):
        predictor.predict(["a", None])  # type: ignore[list-item]
    with pytest.raises(InputError, match="unknown graph"):
        load(made, graph="fp16")
    with pytest.raises(InputError, match=r"this bundle has no model.int8.onnx"):
        load(made, graph="int8")
    with pytest.raises(InputError, match="unknown alias"):
        load("mail@latest", root=made)
    with pytest.raises(ProjectError, match="nothing is in service"):
        load("mail@champion", root=made)
    with pytest.raises(ProjectError, match=r"is no bundle: it has no manifest.json"):
        load(made.parent)


def test_temperature_calibrates_and_moves_no_label(made: Path, tmp_path: Path) -> None:
    cold = load(bundle(tmp_path / "c", micro_model(tmp_path / "base"), temperature=0.1))
    texts = list(table(20)["text"])
    warm = load(made).predict(texts)
    for one, other in zip(cold.predict(texts), warm, strict=True):
        assert one.label == other.label
        assert one.score >= other.score


def test_a_whole_bundle_verifies(made: Path) -> None:
    found = verify(made)
    assert (found.files, found.examples) == (5, 4)
    assert found.max_abs_error < 1e-4


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "bundle.json", "examples.json", "card.md"])
def test_one_changed_byte_is_found(copy: Path, name: str) -> None:
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    for use in (verify, load):
        with pytest.raises(IntegrityError, match=rf"{name}: is not what the manifest promises"):
            use(copy)


def test_missing_extra_and_linked_files_are_found(copy: Path, tmp_path: Path) -> None:
    (copy / "extra.txt").write_text("x")
    with pytest.raises(IntegrityError, match=r"extra.txt: is not in the manifest"):
        load(copy)
    (copy / "extra.txt").unlink()
    (copy / "card.md").rename(tmp_path / "card.md")
    with pytest.raises(IntegrityError, match=r"card.md: is missing"):
        load(copy)
    (copy / "card.md").symlink_to(tmp_path / "card.md")
    with pytest.raises(IntegrityError, match=r"card.md: is a link"):
        load(copy)


def rewrite_manifest(folder: Path, **files: str) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"].update(files)
    (folder / "manifest.json").write_bytes(canonical_json(manifest))


@pytest.mark.parametrize("name", ["../outside.txt", "/etc/hostname"])
def test_a_manifest_that_leads_out_is_refused(copy: Path, name: str) -> None:
    rewrite_manifest(copy, **{name: "0" * 64})
    with pytest.raises(IntegrityError, match="leads out of the bundle"):
        load(copy)


def test_another_bundles_tokenizer_is_found_by_the_examples(copy: Path) -> None:
    tokenizer = json.loads((copy / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    words = sorted(vocabulary, key=vocabulary.get)
    tokenizer["model"]["vocab"] = {word: index for index, word in enumerate(words[:5] + words[5:][::-1])}
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer))
    rewrite_manifest(copy, **{"tokenizer.json": sha256_file(copy / "tokenizer.json")})
    with pytest.raises(IntegrityError, match="example 0 gives"):
        verify(copy)


def test_a_bundle_of_a_newer_schema_is_refused(copy: Path) -> None:
    info = json.loads((copy / "bundle.json").read_text())
    (copy / "bundle.json").write_text(json.dumps({**info, "schema_version": 2}))
    rewrite_manifest(copy, **{"bundle.json": sha256_file(copy / "bundle.json")})
    with pytest.raises(IntegrityError, match="has schema 2, this version reads 1"):
        load(copy)


def put_in_service(root: Path, source: Path, name: str) -> None:
    folder = root / "serving" / "mail" / name / "bundle"
    if not folder.exists():
        shutil.copytree(source, folder)
    alias = root / "serving" / "mail" / "champion.json"
    temporary = alias.with_name(".new")
    content = {"bundle": folder.relative_to(root).as_posix(), "hash": sha256_file(folder / "manifest.json")}
    temporary.write_text(json.dumps(content))
    os.replace(temporary, alias)


def test_a_living_predictor_follows_the_alias(made: Path, tmp_path: Path) -> None:
    root = tmp_path / "project"
    put_in_service(root, made, "one")
    predictor = load("mail@champion", root=root)
    first = predictor.hash
    assert not predictor.refresh()
    other = bundle(tmp_path / "o", micro_model(tmp_path / "base", seed=9))
    put_in_service(root, other, "two")
    texts = list(table(10)["text"])
    np.testing.assert_array_equal(predictor.logits(texts), load(other).logits(texts))
    assert predictor.hash != first
    put_in_service(root, made, "one")
    assert predictor.refresh()
    assert predictor.hash == first


def test_an_alias_that_is_torn_or_leads_out_is_refused(made: Path, tmp_path: Path) -> None:
    put_in_service(tmp_path, made, "one")
    alias = tmp_path / "serving" / "mail" / "champion.json"
    alias.write_text('{"bundle": ')
    with pytest.raises(FinetideError, match="is not valid JSON"):
        load("mail@champion", root=tmp_path)
    alias.write_text('{"bundle": 3}')
    with pytest.raises(IntegrityError, match="is not an alias file"):
        load("mail@champion", root=tmp_path)
    alias.write_text(json.dumps({"bundle": "../../elsewhere", "hash": "x"}))
    with pytest.raises(IntegrityError, match="leads out of the project"):
        load("mail@champion", root=tmp_path)


BLOCKER = """
import sys
allowed = {"finetide", "numpy", "onnxruntime", "tokenizers"} | set(sys.stdlib_module_names)
# What these three bring along themselves.
allowed |= {"huggingface_hub", "flatbuffers", "google", "packaging", "sympy", "mpmath", "coloredlogs", "humanfriendly"}
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] not in allowed and not name.startswith("_"):
            raise ImportError("blocked: " + name)
sys.meta_path.insert(0, Blocker())
from finetide.runtime import load, verify
verify_report = verify(sys.argv[1])
print(len(load(sys.argv[1]).predict(["where is my parcel"])), verify_report.files)
heavy = {"torch", "transformers", "pydantic", "pandas", "pyarrow", "sklearn", "scipy", "ruamel"} & set(sys.modules)
assert not heavy, heavy
"""


def test_serving_needs_numpy_onnxruntime_and_tokenizers_only(made: Path) -> None:
    done = subprocess.run([sys.executable, "-c", BLOCKER, str(made)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "1 5"


@pytest.mark.slow
def test_serving_in_a_bare_environment(made: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    packages = ["numpy", "onnxruntime", "tokenizers"]
    # Without the guard of tests/conftest.py: to install is what the network is for.
    unguarded = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    install = [python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", *packages]
    subprocess.run(install, check=True, env=unguarded)
    code = f"from finetide.runtime import load; print(len(load({str(made)!r}).predict(['hello'])))"
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([python, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
