"""A bundle on disk: opened only when every byte is what the manifest says.

Its files are described in finetide.contracts.bundle. This module reads them without pydantic, which a serving machine
need not have.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from finetide.errors import IntegrityError, ProjectError
from finetide.files import read_json, sha256_file

MANIFEST, INFO, EXAMPLES, TOKENIZER = "manifest.json", "bundle.json", "examples.json", "tokenizer.json"
FP32, INT8 = "model.onnx", "model.int8.onnx"
SCHEMA = 1
# Task → what its bundle has to prepare inputs.
FILES: dict[str, str] = {
    "text-classification": "tokenizer.json",
    "image-classification": "image.json",
    "question-answering": "tokenizer.json",
}


@dataclass(frozen=True)
class Info:
    """What a graph needs besides itself; see contracts.bundle.BundleInfo."""

    model: str
    task: str
    labels: tuple[str, ...]
    inputs: tuple[str, ...]
    max_length: int
    pad_token_id: int | None
    temperature: float
    default_graph: str


def check(folder: Path) -> str:
    """The bundle's hash, after every file was compared with the manifest.

    Raises:
        ProjectError: no such folder. IntegrityError: a file is missing, extra, altered, a link, or leads elsewhere.
    """
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise ProjectError(
            f"is no bundle: it has no {MANIFEST}", where=str(folder), fix="`finetide status` names the one in service"
        )
    listed = field(read_json(manifest), "files", dict, manifest)
    for name, promised in sorted(listed.items()):
        path = _contained(folder, name)
        if not path.is_file():
            raise IntegrityError("is missing", where=str(path), fix=RESTORE)
        found = sha256_file(path)
        if found != promised:
            raise IntegrityError(
                f"is not what the manifest promises, {promised}", where=str(path), found=found, fix=RESTORE
            )
    task = read_json(folder / INFO).get("task") if INFO in listed else None
    unnamed = [name for name in (INFO, EXAMPLES, FILES.get(str(task), INFO), FP32) if name not in listed]
    if unnamed:
        raise IntegrityError(f"files: does not name {unnamed[0]}", where=str(manifest), fix=RESTORE)
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise IntegrityError("is a link; a bundle holds files only", where=str(path), fix=RESTORE)
        if path.is_file() and name != MANIFEST and name not in listed:
            raise IntegrityError("is not in the manifest", where=str(path), fix="take it out, or restore the bundle")
    return sha256_file(manifest)


def read_info(folder: Path) -> Info:
    """Raises: IntegrityError when a field is missing or of another kind, or the schema is newer than this version."""
    path = folder / INFO
    found = read_json(path)
    schema = field(found, "schema_version", int, path)
    if schema != SCHEMA:
        raise IntegrityError(
            f"has schema {schema}, this version reads {SCHEMA}", where=str(path), fix="update finetide"
        )
    labels = field(found, "labels", list, path)
    if len(labels) < 2 or not all(isinstance(label, str) for label in labels) or len(set(labels)) != len(labels):
        raise IntegrityError("labels: must be two different words or more", where=str(path), found=labels, fix=RESTORE)
    default = field(found, "default_graph", str, path)
    if default not in (FP32, INT8):
        raise IntegrityError(f"default_graph: must be {FP32} or {INT8}", where=str(path), found=default, fix=RESTORE)
    return Info(
        model=field(found, "model", str, path),
        task=field(found, "task", str, path),
        labels=tuple(labels),
        inputs=tuple(field(found, "inputs", list, path)),
        max_length=field(found, "max_length", int, path),
        pad_token_id=field(found, "pad_token_id", int, path) if (folder / TOKENIZER).is_file() else None,
        temperature=float(field(found, "temperature", (int, float), path)),
        default_graph=default,
    )


RESTORE = "copy the bundle again; in a project delete its folder below serving/, and finetide run brings it back"


def _contained(folder: Path, name: str) -> Path:
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts or "\0" in name or not pure.parts:
        raise IntegrityError("leads out of the bundle", where=str(folder / MANIFEST), found=name, fix=RESTORE)
    path = folder.joinpath(*pure.parts)
    if path.is_symlink():
        raise IntegrityError("is a link; a bundle holds files only", where=str(path), fix=RESTORE)
    return path


def field(value: Any, key: str, kind: Any, path: Path) -> Any:
    """``value[key]``. Raises: IntegrityError, naming ``path``, when it is not there or not of this ``kind``."""
    if not isinstance(value, dict) or not isinstance(value.get(key), kind):
        raise IntegrityError(f"{key}: is missing or of the wrong kind", where=str(path), fix=RESTORE)
    return value[key]
