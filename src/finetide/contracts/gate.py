"""gate.json, and the approvals that the gate reads."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from finetide.contracts.base import Contract
from finetide.files import canonical_json, sha256_bytes, sha256_file


class GateRecord(Contract):
    """Constant on purpose: an approval that lets a run pass must not make the training after it stale."""

    schema_version: Literal[1] = 1
    gate: Literal["open"] = "open"


class Approval(Contract):
    """approvals/MODEL/VERDICT_HASH.json: who overrides exactly one verdict, and why.

    ``verdict_hash`` is the SHA-256 over the verdict files that the gate read (see `verdict_hash`)."""

    schema_version: Literal[1] = 1
    model: str
    verdict_hash: str
    decision: Literal["approved", "rejected"]
    who: str
    why: str
    time: str


def verdict_hash(quality: Path, leakage: Path, shift: Path) -> str:
    """One hash over the three verdict files: what an approval is about."""
    files = {path.name: sha256_file(path) for path in (quality, leakage, shift)}
    return sha256_bytes(canonical_json(files))
