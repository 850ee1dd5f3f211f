"""What is or was in service, by hash: ``serving/MODEL/HASH/{bundle/, weights/, weights.json}``.

HASH is the bundle's (SHA-256 of its manifest.json, see contracts.bundle). A folder with that name is whole: it is
copied, verified and synced under another name and then renamed. Git ignores it; DVC brings it back elsewhere.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from finetide.contracts.bundle import MANIFEST_FILE, Manifest
from finetide.errors import InputError, IntegrityError
from finetide.files import canonical_json, sha256_bytes, sha256_file, tree_hashes
from finetide.registry.names import check_model

WEIGHTS_FILE = "weights.json"
_TEMPORARY = ".keep-"


def model_folder(root: Path, model: str) -> Path:
    return root / "serving" / check_model(model)


def bundle_path(root: Path, model: str, bundle_hash: str) -> Path:
    return _folder(root, model, bundle_hash) / "bundle"


def weights_path(root: Path, model: str, bundle_hash: str) -> Path:
    return _folder(root, model, bundle_hash) / "weights"


@contextmanager
def lock(root: Path, model: str) -> Iterator[None]:
    """One writer at a time below serving/MODEL; the kernel frees it when its holder dies."""
    folder = model_folder(root, model)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def bundle_hash(bundle: Path) -> str:
    """Raises: IntegrityError when the folder has no manifest."""
    manifest = bundle / MANIFEST_FILE
    if not manifest.is_file():
        raise IntegrityError(f"is no bundle: it has no {MANIFEST_FILE}", where=str(bundle))
    return sha256_file(manifest)


def weights_hash(weights: Path) -> str:
    """One hash for a folder of training weights: SHA-256 of the canonical JSON of its files' hashes."""
    return sha256_bytes(canonical_json(tree_hashes(weights)))


def verify_bundle(bundle: Path) -> str:
    """The hash of a bundle of which every file is what its manifest says, and there is no other.

    Raises: IntegrityError naming the first file that is missing, altered or unknown.
    """
    digest = bundle_hash(bundle)
    promised = Manifest.read(bundle / MANIFEST_FILE).files
    _compare(bundle, promised, {name: found for name, found in tree_hashes(bundle).items() if name != MANIFEST_FILE})
    return digest


def verify_weights(root: Path, model: str, bundle_hash: str) -> None:
    """Raises: IntegrityError when the training weights of a bundle are missing or altered."""
    folder = _folder(root, model, bundle_hash)
    if not (folder / WEIGHTS_FILE).is_file():
        raise _absent(folder)
    _compare(folder / "weights", Manifest.read(folder / WEIGHTS_FILE).files, tree_hashes(folder / "weights"))


def verify(root: Path, model: str, bundle_hash: str) -> None:
    """Bundle and weights. Raises: IntegrityError."""
    verify_stored_bundle(root, model, bundle_hash)
    verify_weights(root, model, bundle_hash)


def verify_stored_bundle(root: Path, model: str, bundle_hash: str) -> None:
    """Raises: IntegrityError when the store lacks the bundle, or its bytes are not those of the hash."""
    bundle = bundle_path(root, model, bundle_hash)
    if not bundle.is_dir():
        raise _absent(bundle.parent)
    found = verify_bundle(bundle)
    if found != bundle_hash:
        raise IntegrityError("is another bundle than its folder says", where=str(bundle), found=found)


def is_complete(root: Path, model: str, bundle_hash: str) -> bool:
    """Whether bundle and weights are there, with their bytes as promised."""
    try:
        verify(root, model, bundle_hash)
    except IntegrityError:
        return False
    return True


def missing(root: Path, model: str, bundle_hash: str) -> bool:
    """Whether the store has nothing under this hash; quick, reads no bytes."""
    return not _folder(root, model, bundle_hash).is_dir()


def keep(root: Path, model: str, bundle: Path, weights: Path) -> str:
    """Copy a bundle and its training weights into the store; returns the bundle's hash.

    What is there already and whole stays untouched; what is there but damaged is replaced.

    Raises: IntegrityError when a file of the bundle is not what its manifest says; the store is then as before.
    """
    digest = bundle_hash(bundle)
    if not weights.is_dir():
        raise IntegrityError("has no training weights", where=str(weights))
    with lock(root, model):
        if is_complete(root, model, digest):
            return digest
        home = model_folder(root, model)
        for leftover in home.glob(f"{_TEMPORARY}*"):  # of a killed process: nobody else is here while we hold the lock
            shutil.rmtree(leftover)
        temporary = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=home))
        try:
            _fill(temporary / "new", bundle, weights, digest)
            target = _folder(root, model, digest)
            if target.exists():
                target.rename(temporary / "damaged")
            (temporary / "new").rename(target)
            _sync(home)
        finally:
            shutil.rmtree(temporary)
    return digest


def _fill(folder: Path, bundle: Path, weights: Path, digest: str) -> None:
    # Manifest, weights included, is written from the source: a copy that went wrong differs from it.
    promised = Manifest(files=tree_hashes(weights), lineage={"bundle": digest})
    shutil.copytree(bundle, folder / "bundle")
    shutil.copytree(weights, folder / "weights")
    promised.write(folder / WEIGHTS_FILE)
    found = verify_bundle(folder / "bundle")
    if found != digest:
        raise IntegrityError("changed while it was copied", where=str(bundle), found=found)
    _compare(folder / "weights", promised.files, tree_hashes(folder / "weights"))
    for path in [folder, *folder.rglob("*")]:
        _sync(path)


def _compare(folder: Path, promised: dict[str, str], found: dict[str, str]) -> None:
    for name in sorted(promised.keys() | found.keys()):
        if promised.get(name) == found.get(name):
            continue
        if name not in found:
            what = "is missing"
        elif name not in promised:
            what = "is not in the manifest"
        else:
            what = f"is not what the manifest promises, {promised[name]}"
        raise IntegrityError(what, where=str(folder / name), found=found.get(name))


def _folder(root: Path, model: str, bundle_hash: str) -> Path:
    if not re.fullmatch(r"[0-9a-f]{64}", bundle_hash):
        raise InputError("is not the hash of a bundle", found=bundle_hash, fix="64 digits, 0-9 and a-f")
    return model_folder(root, model) / bundle_hash


def _absent(folder: Path) -> IntegrityError:
    return IntegrityError(
        "is not in the store of this checkout",
        where=str(folder),
        fix="bring it back from the run commit with DVC, or work in the checkout that promoted it",
    )


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
