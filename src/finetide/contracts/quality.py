"""ingest.json, quality.json (validate) and leakage.json (split)."""

from __future__ import annotations

from typing import Literal

from finetide.contracts.base import Contract

Severity = Literal["critical", "warning", "info"]


class RowRef(Contract):
    """A row as a person finds it: file, line, column and the value seen (cut at 80 characters)."""

    row_id: str
    file: str
    line: int
    column: str
    value: str


class Finding(Contract):
    """One check that did not pass. ``count`` rows are affected; ``rows`` shows the first 20 of them."""

    check: str
    severity: Severity
    message: str
    fix: str
    count: int
    rows: tuple[RowRef, ...]


class IngestReport(Contract):
    """What ingest read. ``files``: rows by file."""

    schema_version: Literal[1] = 1
    rows: int
    reference: int
    incoming: int
    labelled: int
    files: dict[str, int]


class CheckResult(Contract):
    """One check that ran, for the table in the report. ``source``: great-expectations or finetide."""

    check: str
    source: Literal["great-expectations", "finetide"]
    severity: Severity
    passed: bool
    detail: str


class QualityVerdict(Contract):
    """``verdict`` is fail exactly if a critical finding stands; quarantined rows are out of the data."""

    schema_version: Literal[1] = 1
    verdict: Literal["pass", "fail"]
    reason: str
    rows: int
    kept: int
    quarantined: int
    labels: tuple[str, ...]
    counts: dict[str, dict[str, int]]
    checks: tuple[CheckResult, ...]
    findings: tuple[Finding, ...]


class LeakageVerdict(Contract):
    """Postcondition of split. ``counts``: role → split → rows."""

    schema_version: Literal[1] = 1
    verdict: Literal["pass", "fail"]
    reason: str
    counts: dict[str, dict[str, int]]
    findings: tuple[Finding, ...]
