"""The encoder of a model in service as a base folder, so that other models start from what this one has learned."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from safetensors.numpy import load_file, save_file

from finetide.base import WEIGHTS
from finetide.errors import InputError, ProjectError
from finetide.registry import store
from finetide.registry.alias import read_alias

ENCODER = "encoder."
# Of our own files: labels and pooler are the head's, which stays behind.
LEFT = frozenset({WEIGHTS, "labels.json", "pooler.json"})


@dataclass(frozen=True)
class Taken:
    """``version`` of the model whose encoder it is, ``tensors`` how many weights it has."""

    version: str
    tensors: int


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill, which becomes ``folder`` when all went well; else nothing is left.

    Raises: InputError: something is there already.
    """
    if folder.exists() or folder.is_symlink():
        raise InputError("is there already", where=str(folder), fix="name a new folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield made
        made.chmod(0o755)
        os.rename(made, folder)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


def take(root: Path, model: str, folder: Path) -> Taken:
    """Write the encoder, config and preprocessing of the model in service into ``folder``, which must exist.

    Raises:
        ProjectError: the model has never been promoted, or its weights are not here. IntegrityError: they are altered.
    """
    alias = read_alias(root, model)
    if alias is None:
        raise ProjectError("has no model in service yet", where=model, fix=f"finetide run {model}")
    if store.missing(root, model, alias.hash):
        raise ProjectError(
            f"the weights of {alias.version} are not here", where=str(store.weights_path(root, model, alias.hash)),
            fix=f"run `finetide run {model}`, which brings them back from DVC",
        )  # fmt: skip
    store.verify_weights(root, model, alias.hash)
    weights = store.weights_path(root, model, alias.hash)
    state = load_file(weights / WEIGHTS)
    encoder = {name.removeprefix(ENCODER): value for name, value in state.items() if name.startswith(ENCODER)}
    save_file(encoder, folder / WEIGHTS, metadata={"format": "pt"})
    for path in sorted(weights.iterdir()):
        if path.is_file() and path.name not in LEFT:
            shutil.copyfile(path, folder / path.name)
    origin = {"model": model, "version": alias.version, "bundle": alias.hash}
    (folder / "origin.json").write_text(json.dumps(origin, sort_keys=True, indent=2) + "\n", encoding="utf-8")
    return Taken(alias.version, len(encoder))
