"""One model's stages in ``dvc.lock``, out of the run commits of the ledger. Other models' stages stay as they are."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from finetide.files import write_text
from finetide.pipeline import dvc
from finetide.registry import ledger
from finetide.registry.git import call, open_repository


def bring_back(root: Path, model: str) -> list[str]:
    """Where the lock is lost or knows nothing of a model that has a ledger: the stages of its newest entry.

    Without them DVC cannot tell what has changed since a promotion from what it knows nothing of; then the window would
    be pinned anew, and the same weights judged and promoted once more.
    """
    with dvc.workspace_lock(root):
        path = root / "dvc.lock"
        if dvc.has_lock(root) and _mentions(path.read_text(encoding="utf-8"), model):
            return []
        entries = ledger.read(root, model)
        if not entries or not _take(root, model, ledger.run_commit(root, model, entries[-1].sequence)):
            return []  # adopted, or only the tags were fetched
    return [f"repaired: dvc.lock has the stages of entry {entries[-1].sequence} of the ledger again"]


def take(root: Path, model: str, commit: str) -> list[str]:
    """The stages as that run left them. Returns: their names."""
    with dvc.workspace_lock(root):
        return _take(root, model, commit)


def blob(root: Path, commit: str, path: Path) -> bytes | None:
    """A file as that commit has it; None where it has none."""
    place = f"{open_repository(root).prefix}{path.relative_to(root).as_posix()}"
    outcome = call(root, ["cat-file", "blob", f"{commit}:{place}"])
    return outcome.out if outcome.code == 0 else None


def _take(root: Path, model: str, commit: str) -> list[str]:
    path, ending = root / "dvc.lock", f"@{model}"
    lock = blob(root, commit, path)
    theirs = _stages(lock.decode()) if lock is not None else {}
    taken = {name: stage for name, stage in theirs.items() if name.endswith(ending)}
    if taken:
        mine = _stages(path.read_text(encoding="utf-8")) if dvc.has_lock(root) else {}
        kept = {name: stage for name, stage in mine.items() if not name.endswith(ending)}
        yaml, stream = YAML(), StringIO()
        yaml.default_flow_style = False
        yaml.dump({"schema": "2.0", "stages": {**kept, **taken}}, stream)
        write_text(path, stream.getvalue())
    return list(taken)


def _mentions(lock: str, model: str) -> bool:
    return re.search(rf"^ +\S+@{re.escape(model)}:$", lock, re.MULTILINE) is not None


def _stages(lock: str) -> dict[str, Any]:
    """Empty where the file is torn."""
    try:
        document = YAML(typ="safe", pure=True).load(StringIO(lock))
    except YAMLError:
        return {}
    stages = document.get("stages") if isinstance(document, dict) else None
    return stages if isinstance(stages, dict) else {}
