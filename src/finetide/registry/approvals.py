"""approvals/MODEL/: one JSON file a decision about one verdict, and when one is asked for before a promotion.

The gate reads the decisions about its verdicts, the end of a run those about the judge's; git tracks them all.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Literal

from finetide.contracts.gate import Approval, approval_name
from finetide.contracts.judge import JudgeVerdict
from finetide.errors import InputError
from finetide.registry.clock import Clock, utc_now
from finetide.registry.git import open_repository
from finetide.registry.names import check_model

Decision = Literal["approved", "rejected"]
# What `policy.ask_before` can name, in words.
PROMOTIONS = {
    "first": "a first version goes into service",
    "loss": "a version that scores lower than the champion, within the margin, goes into service",
}
# A difference of shares that is none but for floats.
ROUNDING = 1e-9


def approvals_folder(root: Path, model: str) -> Path:
    return root / "approvals" / check_model(model)


def asked_before(verdict: JudgeVerdict, ask_before: Collection[str]) -> str | None:
    """Why a person is asked before this promotion; None where none is. Args: ask_before: of the policy."""
    if verdict.verdict != "promote":
        return None
    kind = "first" if verdict.champion_hash is None else "loss"
    if kind == "loss" and (verdict.difference is None or verdict.difference >= -ROUNDING):
        return None
    if kind not in ask_before:
        return None
    return f"a person is asked before {PROMOTIONS[kind]} (policy.ask_before): {verdict.reason}"


def write_approval(
    root: Path,
    model: str,
    verdict_hash: str,
    decision: Decision,
    *,
    why: str,
    who: str | None = None,
    now: Clock = utc_now,
) -> Path:
    """Write a decision about exactly one verdict; an earlier one to the contrary gives way (the ledger keeps both).

    Args:
        verdict_hash: SHA-256, as the gate prints it.
        who: default: name and address from git, else the login name.

    Raises: InputError for a bad hash, no reason, or a verdict that was decided so before.
    """
    if not re.fullmatch(r"[0-9a-f]{64}", verdict_hash):
        raise InputError("is not the hash of a verdict", found=verdict_hash, fix="copy it from what the gate printed")
    if not why.strip():
        raise InputError("a decision needs a reason", fix='say why, e.g. --why "the new region is expected"')
    folder = approvals_folder(root, model)
    path = folder / approval_name(verdict_hash, decision)
    if path.exists():
        before = Approval.read(path)
        raise InputError(f"was {decision} before, by {before.who}: {before.why}", where=str(path))
    Approval(
        model=model,
        verdict_hash=verdict_hash,
        decision=decision,
        who=who or open_repository(root).who(),
        why=why.strip(),
        time=now(),
    ).write(path)
    contrary: Decision = "rejected" if decision == "approved" else "approved"
    (folder / approval_name(verdict_hash, contrary)).unlink(missing_ok=True)
    return path
