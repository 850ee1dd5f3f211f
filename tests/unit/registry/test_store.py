from __future__ import annotations

from pathlib import Path

import pytest

from finetide.errors import InputError, IntegrityError
from finetide.files import tree_hashes
from finetide.registry import store
from support.registry import MODEL, make_bundle


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, Path]:
    return make_bundle(tmp_path / "artifacts", "one")


def keep(root: Path, made: tuple[Path, Path]) -> str:
    return store.keep(root, MODEL, *made)


def test_what_is_kept_is_what_was_given(tmp_path: Path, made: tuple[Path, Path]) -> None:
    digest = store.bundle_hash(made[0])
    assert store.missing(tmp_path, MODEL, digest)
    assert not store.is_complete(tmp_path, MODEL, digest)
    assert keep(tmp_path, made) == digest
    assert tree_hashes(store.bundle_path(tmp_path, MODEL, digest)) == tree_hashes(made[0])
    assert tree_hashes(store.weights_path(tmp_path, MODEL, digest)) == tree_hashes(made[1])
    assert store.is_complete(tmp_path, MODEL, digest)
    assert not store.missing(tmp_path, MODEL, digest)


def test_keeping_twice_touches_nothing(tmp_path: Path, made: tuple[Path, Path]) -> None:
    digest = keep(tmp_path, made)
    before = store.bundle_path(tmp_path, MODEL, digest).stat().st_ino
    assert keep(tmp_path, made) == digest
    assert store.bundle_path(tmp_path, MODEL, digest).stat().st_ino == before


def test_what_was_damaged_is_replaced(tmp_path: Path, made: tuple[Path, Path]) -> None:
    digest = keep(tmp_path, made)
    (store.weights_path(tmp_path, MODEL, digest) / "model.safetensors").write_text("flipped")
    assert not store.is_complete(tmp_path, MODEL, digest)
    keep(tmp_path, made)
    assert store.is_complete(tmp_path, MODEL, digest)


def test_leftovers_of_a_killed_copy_are_swept(tmp_path: Path, made: tuple[Path, Path]) -> None:
    left = store.model_folder(tmp_path, MODEL) / ".keep-dead" / "new"
    left.mkdir(parents=True)
    digest = keep(tmp_path, made)
    assert sorted(path.name for path in store.model_folder(tmp_path, MODEL).iterdir()) == [".lock", digest]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda bundle: (bundle / "model.onnx").write_text("flipped"), r"model\.onnx: is not what the manifest promis"),
        (lambda bundle: (bundle / "nested" / "card.md").unlink(), r"nested/card\.md: is missing"),
        (lambda bundle: (bundle / "extra.py").touch(), r"extra\.py: is not in the manifest"),
        (lambda bundle: (bundle / "manifest.json").unlink(), r"bundle: is no bundle: it has no manifest\.json"),
    ],
)
def test_a_bundle_that_breaks_its_promise_is_not_kept(tmp_path: Path, damage: object, message: str) -> None:
    made = make_bundle(tmp_path / "artifacts", "one")
    damage(made[0])  # type: ignore[operator]
    with pytest.raises(IntegrityError, match=message):
        keep(tmp_path, made)
    home = store.model_folder(tmp_path, MODEL)
    assert not home.exists() or [path.name for path in home.iterdir()] == [".lock"]


def test_a_bundle_without_weights_is_not_kept(tmp_path: Path, made: tuple[Path, Path]) -> None:
    with pytest.raises(IntegrityError, match="none: has no training weights"):
        store.keep(tmp_path, MODEL, made[0], tmp_path / "none")


def test_verify_names_what_is_wrong(tmp_path: Path, made: tuple[Path, Path]) -> None:
    digest = store.bundle_hash(made[0])
    with pytest.raises(
        IntegrityError, match=r"is not in the store of this checkout\n  fix: bring it back from the run"
    ):
        store.verify(tmp_path, MODEL, digest)
    keep(tmp_path, made)
    (store.weights_path(tmp_path, MODEL, digest) / "model.safetensors").unlink()
    store.verify_stored_bundle(tmp_path, MODEL, digest)
    with pytest.raises(IntegrityError, match=r"weights/model\.safetensors: is missing"):
        store.verify(tmp_path, MODEL, digest)
    (store.bundle_path(tmp_path, MODEL, digest).parent / "weights.json").unlink()
    with pytest.raises(IntegrityError, match="is not in the store of this checkout"):
        store.verify_weights(tmp_path, MODEL, digest)


def test_a_whole_bundle_in_the_wrong_place_is_found(tmp_path: Path, made: tuple[Path, Path]) -> None:
    wrong = "0" * 64
    digest = keep(tmp_path, made)
    store.bundle_path(tmp_path, MODEL, digest).parent.rename(store.model_folder(tmp_path, MODEL) / wrong)
    with pytest.raises(IntegrityError, match=f"is another bundle than its folder says .found '{digest}'"):
        store.verify(tmp_path, MODEL, wrong)


def test_a_bundle_that_changes_under_our_hands_is_not_kept(
    tmp_path: Path, made: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "verify_bundle", lambda bundle: "f" * 64)
    with pytest.raises(IntegrityError, match="bundle: changed while it was copied"):
        keep(tmp_path, made)


def test_only_a_hash_makes_a_path(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is not the hash of a bundle \(found '\.\./\.\.'\)\n  fix: 64 digits"):
        store.bundle_path(tmp_path, MODEL, "../..")
