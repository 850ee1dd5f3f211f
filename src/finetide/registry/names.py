"""How a model of a project is called in git's tags.

A project in a subfolder puts its folder in front, as GTO writes it: ``examples/shop=tickets``. So two projects of one
repository may both have a model named ``tickets``.
"""

from __future__ import annotations

import re

from finetide.config.base import NAME_PATTERN
from finetide.errors import InputError
from finetide.files import sha256_bytes

TAGS = "refs/tags/"
_MODEL = re.compile(NAME_PATTERN)
_PLAIN = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*$")


def check_model(model: str) -> str:
    """Raises: InputError; the name becomes a folder and a part of tags."""
    if not _MODEL.fullmatch(model):
        raise InputError(
            "is not a model name", found=model, fix="lower-case letters, digits and dashes, a letter first"
        )
    return model


def artifact(prefix: str, model: str) -> str:
    """The name in tags. ``prefix``: see `git.Repository`."""
    folders = [_folder(part) for part in prefix.split("/") if part]
    return "/".join(folders) + "=" + check_model(model) if folders else check_model(model)


def ledger_folder(name: str) -> str:
    """Where the ledger of an artifact has its refs, with a slash at the end."""
    return f"{TAGS}finetide/{name}/"


def ledger_tag(name: str, sequence: int) -> str:
    return f"finetide/{name}/{sequence:06d}"


def _folder(part: str) -> str:
    """A folder's name as it is where git and GTO allow it in a tag; else the nearest such name, with its hash."""
    if _PLAIN.fullmatch(part) and not part.endswith(".lock"):
        return part
    return re.sub(r"[^A-Za-z0-9_-]", "_", part) + "-" + sha256_bytes(part.encode(errors="surrogateescape"))[:8]
