"""What waits for a person: a gate that is shut, or a promotion that the policy asks about. And the run that asked.

A decision is about the hash of the verdicts that were looked at, so that other data, or another challenger, asks anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from finetide.config.graph import stage_files, stage_names
from finetide.config.load import load_section
from finetide.config.policy import PolicyParams
from finetide.contracts.gate import Approval, newest, read_approvals, verdict_hash
from finetide.contracts.judge import JudgeVerdict
from finetide.contracts.operate import Waiting
from finetide.errors import FinetideError
from finetide.lifecycle import isolate, outputs
from finetide.registry import history, ledger
from finetide.registry.approvals import approvals_folder, asked_before
from finetide.report.gather import stage_states


@dataclass(frozen=True)
class Question:
    """``verdict_hash``: what a decision names. ``challenger``: of a promotion, its bundle's hash. ``reason``: why a
    person is asked; empty of a gate, which says so itself when it fails."""

    about: Literal["gate", "promotion"]
    verdict_hash: str
    challenger: str | None
    reason: str


def standing(project: Path, model: str) -> Question | None:
    """What `finetide approve` and `reject` decide on now: a judged challenger that waits, else the gate's verdicts.
    None before the stages ran."""
    if not (project / "dvc.yaml").is_file():
        return None
    paths = outputs.verdict_paths(project, model)
    if not all(path.exists() for path in paths):
        return None
    return _waiting_promotion(project, model) or Question("gate", verdict_hash(*paths), None, "")


def before_promotion(project: Path, model: str, verdict: JudgeVerdict, entries: history.Entries) -> Question | None:
    """The question that the policy asks about this verdict of the judge, whatever was answered; None where it asks
    none, or the challenger is in service."""
    champion = history.champion(entries)
    if champion is not None and champion.bundle_hash == verdict.challenger_hash:
        return None
    reason = asked_before(verdict, load_section(project, f"models.{model}.policy", PolicyParams).ask_before)
    if reason is None:
        return None
    found = verdict_hash(outputs.path_of(project, model, "judge", "judge.json"))
    return Question("promotion", found, verdict.challenger_hash, reason)


def answer(project: Path, model: str, verdict: str) -> Approval | None:
    """The decision that counts about this hash. Raises: IntegrityError for a file that is no decision."""
    return newest(read_approvals(approvals_folder(project, model)), verdict)


def verdict_of(project: Path, model: str) -> str | None:
    """The hash that a decision would name now."""
    found = standing(project, model)
    return found.verdict_hash if found else None


def refusal(project: Path, model: str) -> Approval | None:
    """The no to what stands to be decided; None where none was said."""
    found = verdict_of(project, model)
    said = answer(project, model, found) if found else None
    return said if said is not None and said.decision == "rejected" else None


def read(root: Path, model: str) -> Waiting | None:
    """The scheduled run that asked; None where none waits. Args: root: the checkout's project."""
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


def _waiting_promotion(project: Path, model: str) -> Question | None:
    """Of outputs that are all of one run: a challenger that was judged before newer data came waits no more."""
    verdict = outputs.judge(project, model)
    if verdict is None or verdict.verdict != "promote":
        return None
    entries = ledger.read(project, model)
    found = before_promotion(project, model, verdict, entries)
    if found is None or outputs.is_withdrawn(project, model, entries, verdict):
        return None
    files = {stage: stage_files(project, stage, model) for stage in stage_names(project)}
    return found if stage_states(project, model, files)["judge"] == "done" else None


def _path(root: Path, model: str) -> Path:
    return root / ".finetide" / "waiting" / f"{model}.json"
