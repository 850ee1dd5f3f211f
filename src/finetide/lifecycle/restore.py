"""Brings a promoted model back by hash: from DVC's cache or remote, through the dvc.lock of the run that made it."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

from ruamel.yaml import YAML

from finetide.config.graph import stage_files
from finetide.errors import IntegrityError, ToolError
from finetide.files import write_bytes
from finetide.pipeline import dvc
from finetide.registry import history, ledger, store
from finetide.registry.git import open_repository


def restore(root: Path, model: str, bundle_hash: str) -> list[str]:
    """Put a promoted bundle and its training weights back into the store, unless they are there, byte for byte.

    Raises:
        IntegrityError: the ledger never promoted this hash, or neither cache nor remote has its bytes.
    """
    if store.is_complete(root, model, bundle_hash):
        return []
    damaged = not store.missing(root, model, bundle_hash)
    entry = history.promotion(ledger.read(root, model), bundle_hash)
    if entry is None:
        raise IntegrityError("was never promoted, says the ledger", where=model, found=bundle_hash)
    bundle = stage_files(root, "export", model).outs["bundle"]
    weights = stage_files(root, "train", model).outs["model"]
    with unpacked(root, model, ledger.run_commit(root, model, entry.sequence)) as folder:
        targets = [str(bundle), str(weights)]
        if dvc.call(folder, ["checkout", *targets]).code != 0:
            pulled = dvc.call(folder, ["pull", *targets])
            if pulled.code != 0:
                raise IntegrityError(
                    f"{entry.version} is neither in DVC's cache nor in a remote: {dvc.said(pulled.output)}",
                    where=model,
                    found=bundle_hash,
                    fix="bring the cache back, or the remote; or push it from the checkout that promoted it: dvc push",
                )
        kept = store.keep(root, model, folder / bundle, folder / weights)
    if kept != bundle_hash:
        raise IntegrityError("is not what DVC brought back", where=f"{model} {entry.version}", found=kept)
    said = f"brought back {entry.version} ({bundle_hash[:12]}) from DVC"
    return [f"repaired: {said}; its bytes in the store were damaged" if damaged else said]


@contextmanager
def unpacked(root: Path, model: str, commit: str) -> Iterator[Path]:
    """A DVC project of its own as a run left it: graph, lock, params and the pointers of the model's raw files.

    Args: commit: that of the run. It shares the cache of ``root`` and knows its remotes, and is gone afterwards.
    """
    scratch = root / ".finetide" / "restore"
    scratch.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=scratch))
    try:
        _unpack(root, commit, folder)
        _unpack_pointers(root, model, commit, folder)
        _configure(root, folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def stages_of(folder: Path, model: str) -> list[str]:
    """Addresses of the model's stages that the unpacked lock knows."""
    lock = YAML(typ="safe", pure=True).load(StringIO((folder / "dvc.lock").read_text(encoding="utf-8")))
    return [name for name in lock["stages"] if name.endswith(f"@{model}")]


def _unpack_pointers(root: Path, model: str, commit: str, folder: Path) -> None:
    repository = open_repository(root)
    raw_files = f"{repository.prefix}data/{model}/raw/"
    listed = repository.git("ls-tree", "-r", "-z", "--full-tree", "--name-only", commit, "--", raw_files)
    for name in listed.decode(errors="surrogateescape").split("\0"):
        if name.endswith(".dvc"):
            content = repository.git("cat-file", "blob", f"{commit}:{name}")
            write_bytes(folder / name.removeprefix(repository.prefix), content)


def _unpack(root: Path, commit: str, folder: Path) -> None:
    """The files that decide that run, out of its commit."""
    repository = open_repository(root)
    names = [f"{repository.prefix}{name}" for name in ("dvc.yaml", "dvc.lock", "params.yaml", "finetide.lock")]
    packed = repository.git("archive", "--format=tar", commit, "--", *[f":(top){name}" for name in names])
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        for member in archive.getmembers():
            name = Path(member.name).name
            stream = archive.extractfile(member) if member.isfile() else None
            if stream is not None and f"{repository.prefix}{name}" in names:
                (folder / name).write_bytes(stream.read())


def _configure(root: Path, folder: Path) -> None:
    """A DVC project of its own that shares this project's cache and knows its remotes."""
    (folder / ".dvc").mkdir()
    for name in ("config", "config.local"):
        if (root / ".dvc" / name).exists():
            shutil.copyfile(root / ".dvc" / name, folder / ".dvc" / name)
    # DVC lists its settings with paths made absolute; in a copied file a relative one would mean another folder.
    listed = [line.partition("=") for line in dvc.checked(root, ["config", "--list"]).splitlines()]
    settings = [["core.no_scm", "true"], ["cache.dir", _from(folder, dvc.checked(root, ["cache", "dir"]).strip())]]
    for name, _, value in listed:
        if name.startswith("remote.") and name.endswith(".url"):
            settings.append([name, value if "://" in value else _from(folder, value)])
    for name, value in settings:
        outcome = dvc.call(folder, ["config", "--local", name, value])
        if outcome.code != 0:
            raise ToolError(f"`dvc config {name}` failed:\n{outcome.output}", where=str(folder))


def _from(folder: Path, path: str) -> str:
    """``path`` as `dvc config`, called in ``folder``, may be given it: relative, because DVC writes the file in ASCII
    and the project may lie in a folder named otherwise."""
    return os.path.relpath(path, folder)
