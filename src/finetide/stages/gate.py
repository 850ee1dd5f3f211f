"""gate: stops on a critical finding, on leakage and on a halt, unless someone approved exactly these verdicts."""

from __future__ import annotations

from finetide.config.stage import Stage
from finetide.contracts.gate import Approval, GateRecord, newest, read_approvals, verdict_hash
from finetide.contracts.quality import Finding, LeakageVerdict, QualityVerdict
from finetide.contracts.shift import ShiftVerdict
from finetide.errors import GateError


def run(stage: Stage) -> None:
    paths = (stage.dep("quality.json"), stage.dep("leakage.json"), stage.dep("shift.json"))
    reasons = objections(QualityVerdict.read(paths[0]), LeakageVerdict.read(paths[1]), ShiftVerdict.read(paths[2]))
    decide(reasons, verdict_hash(*paths), read_approvals(stage.dep(stage.model)), stage.model)
    GateRecord().write(stage.out("gate.json"))


def objections(quality: QualityVerdict, leakage: LeakageVerdict, shift: ShiftVerdict) -> list[str]:
    """Why the run may not go on, each with its remedy; empty when it may."""
    reasons = [
        f"{finding.check}: {finding.message}{_first(finding)}; {finding.fix}"
        for verdict in (quality, leakage)
        for finding in verdict.findings
        if finding.severity == "critical"
    ]
    for name, verdict in (("validate", quality), ("split", leakage)):
        if verdict.verdict == "fail" and not any(finding.severity == "critical" for finding in verdict.findings):
            reasons.append(f"{name}: {verdict.reason}")
    if shift.verdict == "halt":
        reasons.append(f"shift: {shift.sentence}")
    return reasons


def _first(finding: Finding) -> str:
    """Where to look, for a finding about single rows: all of them are in the report."""
    return f" (first: {finding.rows[0].file} line {finding.rows[0].line})" if finding.rows else ""


def decide(reasons: list[str], found_hash: str, approvals: list[Approval], model: str) -> None:
    """Raises: GateError unless there is no objection, or the newest decision about this hash approves it."""
    if not reasons:
        return
    said = newest(approvals, found_hash)
    if said is not None and said.decision == "approved":
        print(f"approved by {said.who}: {said.why}")
        return
    listed = "".join(f"\n  - {reason}" for reason in reasons)
    refused = f"\n  rejected by {said.who}: {said.why}" if said is not None else ""
    others = sum(approval.verdict_hash != found_hash for approval in approvals)
    told = f"\n  {others} earlier decision(s) are about other verdicts" if others else ""
    raise GateError(
        f"the gate stays shut for verdict {found_hash[:12]}{listed}{refused}{told}",
        where=model,
        fix=f'mend the data, or let exactly this pass: finetide approve {model} --why "…"',
    )
