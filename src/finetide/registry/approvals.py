"""approvals/MODEL/: one JSON file a decision about one verdict. The gate reads them; git tracks them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from finetide.contracts.gate import Approval, approval_name
from finetide.errors import InputError
from finetide.registry.clock import Clock, utc_now
from finetide.registry.git import open_repository
from finetide.registry.names import check_model

Decision = Literal["approved", "rejected"]


def approvals_folder(root: Path, model: str) -> Path:
    return root / "approvals" / check_model(model)


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
