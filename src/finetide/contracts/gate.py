"""gate.json, and the approvals that the gate reads."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from finetide.contracts.base import Contract
from finetide.errors import IntegrityError
from finetide.files import canonical_json, sha256_bytes, sha256_file


class GateRecord(Contract):
    """Constant on purpose: an approval that lets a run pass must not make the training after it stale."""

    schema_version: Literal[1] = 1
    gate: Literal["open"] = "open"


class Approval(Contract):
    """approvals/MODEL/HASH-DECISION.json (the hash's first 16 digits): who decided about exactly one verdict, and why.

    ``verdict_hash`` is the SHA-256 over the verdict files that it is about (see `verdict_hash`): those that the gate
    read, or the judge's, of a promotion that waits for a person."""

    schema_version: Literal[1] = 1
    model: str
    verdict_hash: str
    decision: Literal["approved", "rejected"]
    who: str
    why: str
    time: str


def approval_name(verdict_hash: str, decision: str) -> str:
    """The file that a decision stands in."""
    return f"{verdict_hash[:16]}-{decision}.json"


def read_approvals(folder: Path) -> list[Approval]:
    """All decisions of one model, by file name; none when there is no such folder.

    Raises: IntegrityError for a torn file, or one that is not under its own name or model.
    """
    approvals = []
    for path in sorted(folder.glob("*.json")):
        if path.name.startswith("."):
            continue
        approval = Approval.read(path)
        if (path.name, folder.name) != (
            approval_name(approval.verdict_hash, approval.decision),
            approval.model,
        ):
            raise IntegrityError(
                f"holds a decision of {approval.model} about verdict {approval.verdict_hash[:16]}",
                where=str(path),
                fix="decide again with finetide approve or reject, and remove this file",
            )
        approvals.append(approval)
    return approvals


def newest(approvals: Iterable[Approval], found_hash: str) -> Approval | None:
    """The decision about this verdict that counts; None where there is none."""
    about_this = (approval for approval in approvals if approval.verdict_hash == found_hash)
    return max(about_this, key=lambda approval: approval.time, default=None)


def verdict_hash(*verdicts: Path) -> str:
    """One hash over verdict files: what an approval is about. The gate's are quality, leakage and shift, a promotion's
    is that of the judge, which names challenger and champion."""
    files = {path.name: sha256_file(path) for path in verdicts}
    return sha256_bytes(canonical_json(files))
