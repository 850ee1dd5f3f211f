"""A scheduled run that waits for a person: what about, and where its verdicts lie."""

from __future__ import annotations

from pathlib import Path

from finetide.contracts.gate import Approval, approval_name, verdict_hash
from finetide.contracts.operate import Waiting
from finetide.errors import FinetideError
from finetide.lifecycle import isolate, outputs
from finetide.registry.approvals import approvals_folder


def read(root: Path, model: str) -> Waiting | None:
    """None where nothing waits. Args: root: the checkout's project."""
    try:
        return Waiting.read(_path(root, model))
    except (FileNotFoundError, FinetideError):
        return None


def write(root: Path, waiting: Waiting) -> None:
    waiting.write(_path(root, waiting.model))


def clear(root: Path, model: str) -> None:
    _path(root, model).unlink(missing_ok=True)


def place_of_decision(root: Path, model: str) -> Path:
    """The folder whose verdicts a decision is about: the worktree, where a run waits there, else ``root``."""
    found = read(root, model)
    if found is None:
        return root
    project = isolate.worktree_path(root, model)
    return project if found.verdict_hash == verdict_of(project, model) else root


def verdict_of(project: Path, model: str) -> str | None:
    """The hash that a decision would name now; None before the stages ran."""
    if not (project / "dvc.yaml").is_file():
        return None
    paths = outputs.verdict_paths(project, model)
    return verdict_hash(*paths) if all(path.exists() for path in paths) else None


def refusal(project: Path, model: str) -> Approval | None:
    """The decision that keeps the present verdicts from passing; None where none was made."""
    found = verdict_of(project, model)
    path = approvals_folder(project, model) / approval_name(found or "", "rejected")
    return Approval.read(path) if found and path.exists() else None


def _path(root: Path, model: str) -> Path:
    return root / ".finetide" / "waiting" / f"{model}.json"
