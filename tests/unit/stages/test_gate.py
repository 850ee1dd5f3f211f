from __future__ import annotations

from pathlib import Path

import pytest

from finetide.contracts.gate import Approval, read_approvals, verdict_hash
from finetide.contracts.quality import Finding, LeakageVerdict, QualityVerdict
from finetide.contracts.shift import ShiftVerdict
from finetide.errors import GateError, IntegrityError
from finetide.stages.gate import decide, objections

HASH = "a" * 64


def quality(severity: str | None = None, verdict: str = "pass") -> QualityVerdict:
    findings = ()
    if severity:
        finding = Finding.model_validate(
            {"check": "labels", "severity": severity, "message": "2 rows", "fix": "mend them", "count": 2, "rows": []}
        )
        findings = (finding,)
    return QualityVerdict.model_validate(
        {
            "verdict": verdict, "reason": "because", "rows": 9, "kept": 9, "quarantined": 0, "labels": (), "counts": {},
            "checks": (), "findings": findings,
        }
    )  # fmt: skip


def leakage(verdict: str = "pass") -> LeakageVerdict:
    return LeakageVerdict.model_validate({"verdict": verdict, "reason": "leaks", "counts": {}, "findings": ()})


def shift(verdict: str = "none") -> ShiftVerdict:
    return ShiftVerdict.model_validate(
        {
            "verdict": verdict, "sentence": "far away", "alpha": 0.01, "p": None, "reference_rows": 1,
            "incoming_rows": 1, "compared_reference": 1, "compared_incoming": 1, "labelled_share": 0.0, "causes": (),
            "rows_needed": None, "reasons": (), "statistics": (), "moved": (), "slices": (),
            "labels": (), "accuracy": None,
        }
    )  # fmt: skip


def approval(decision: str, time: str, verdict: str = HASH) -> Approval:
    return Approval.model_validate(
        {"model": "m", "verdict_hash": verdict, "decision": decision, "who": "me", "why": "fine", "time": time}
    )


def test_nothing_to_object_to() -> None:
    assert objections(quality("warning"), leakage(), shift("adapt")) == []
    decide([], HASH, [], "m")


def test_each_objection_is_named() -> None:
    found = objections(quality("critical", "fail"), leakage("fail"), shift("halt"))
    assert found == ["labels: 2 rows; mend them", "split: leaks", "shift: far away"]
    assert objections(quality(None, "fail"), leakage(), shift()) == ["validate: because"]


def test_the_gate_says_why_and_what_to_do() -> None:
    with pytest.raises(GateError, match="stays shut") as caught:
        decide(["shift: far away"], HASH, [], "m")
    assert 'finetide approve m --why "…"' in str(caught.value)
    assert "shift: far away" in str(caught.value)
    assert caught.value.exit_code == 3


def test_an_approval_of_exactly_this_verdict_opens_it(capsys: pytest.CaptureFixture[str]) -> None:
    decide(["x"], HASH, [approval("approved", "2026-01-01T00:00:00+00:00")], "m")
    assert "approved by me: fine" in capsys.readouterr().out


def test_an_approval_of_another_verdict_does_not() -> None:
    with pytest.raises(GateError, match=r"1 earlier decision\(s\) are about other verdicts"):
        decide(["x"], HASH, [approval("approved", "2026-01-01T00:00:00+00:00", "b" * 64)], "m")


def test_the_newest_decision_counts() -> None:
    old, new = "2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00"
    with pytest.raises(GateError, match="rejected by me: fine"):
        decide(["x"], HASH, [approval("rejected", new), approval("approved", old)], "m")
    decide(["x"], HASH, [approval("rejected", old), approval("approved", new)], "m")


def test_a_torn_approval_is_an_error(tmp_path: Path) -> None:
    (tmp_path / ".gitkeep").touch()
    assert read_approvals(tmp_path) == []
    (tmp_path / "x.json").write_text('{"model": ')
    with pytest.raises(IntegrityError, match="is not valid JSON"):
        read_approvals(tmp_path)


def test_the_hash_is_of_all_three_files(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("quality.json", "leakage.json", "shift.json")]
    for path in paths:
        path.write_text("1")
    before = verdict_hash(*paths)
    paths[1].write_text("2")
    assert verdict_hash(*paths) != before
