"""A promotion that the policy asks about waits for a person, who decides about exactly that verdict of the judge."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest

from finetide.contracts.judge import JudgeVerdict
from finetide.contracts.operate import Waiting
from finetide.errors import GateError, InputError
from finetide.lifecycle import conclude, outputs, run, status, waiting, why
from finetide.lifecycle.conclude import Conclusion, decide
from finetide.lifecycle.monitor import finding
from finetide.pipeline import journal
from finetide.registry import approvals, history, ledger, store
from finetide.report import build
from support.artifacts import Artifacts
from support.project import edit_params
from support.registry import MODEL, make_bundle, promote

FIRST = "a person is asked before a first version goes into service (policy.ask_before): one is better"
LOSS = (
    "a person is asked before a version that scores lower than the champion, within the margin, goes into service "
    "(policy.ask_before): two is better"
)


@pytest.fixture
def root(made: Artifacts, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A whole run's outputs, up to date by what DVC says, and a policy that asks about all it can."""
    monkeypatch.setattr(conclude, "dirty", lambda *_: set())
    monkeypatch.setattr(conclude, "read", lambda _: {})
    ask(made.root, "first", "loss")
    return made.root


def ask(root: Path, *about: str) -> None:
    def change(params: Any) -> None:
        params["policy"]["ask_before"] = list(about)

    edit_params(root, change, MODEL)


def judged(root: Path, content: str, difference: float | None = None, word: str = "promote") -> str:
    """A challenger of this content, judged against today's champion. Returns its hash."""
    made = make_bundle(root / "artifacts" / "made", content)
    for source, (stage, name) in zip(made, (("export", "bundle"), ("train", "model")), strict=True):
        target = outputs.path_of(root, MODEL, stage, name)
        shutil.rmtree(target)
        shutil.copytree(source, target)
    digest = store.bundle_hash(outputs.path_of(root, MODEL, "export", "bundle"))
    champion = history.champion(ledger.read(root, MODEL))
    path = outputs.path_of(root, MODEL, "judge", "judge.json")
    said = {
        "challenger_hash": digest, "champion_hash": champion.bundle_hash if champion else None, "verdict": word,
        "difference": difference, "reason": f"{content} is better",
    }  # fmt: skip
    JudgeVerdict.read(path).model_copy(update=said).write(path)
    return digest


def ended(root: Path) -> tuple[str, int, bool]:
    found = conclude.conclude(root, MODEL)
    return found.outcome, found.exit_code, found.new


def events(root: Path) -> list[str]:
    return [entry.event for entry in ledger.read(root, MODEL)]


def test_nobody_is_asked_unless_the_policy_says_so(root: Path) -> None:
    ask(root)
    judged(root, "one")
    assert ended(root) == ("promoted", 0, True)
    judged(root, "two", -0.004)
    assert ended(root) == ("promoted", 0, True)
    assert events(root) == ["promoted", "promoted"]


def test_a_first_version_waits_until_it_is_approved(root: Path) -> None:
    challenger = judged(root, "one")
    for _ in range(2):  # it waits as long as nobody answers
        assert conclude.conclude(root, MODEL) == Conclusion("waiting", FIRST, 3, new=True)
    assert events(root) == []
    said = decide(root, MODEL, "approved", "as agreed", "ann")
    asked = waiting.standing(root, MODEL)
    assert asked is not None
    assert (asked.about, asked.challenger) == ("promotion", challenger)
    place = f"approvals/{MODEL}/{asked.verdict_hash[:16]}-approved.json"
    about = f"challenger {challenger[:12]} (verdict {asked.verdict_hash[:12]})"
    assert said == f"{MODEL}: approved {about} in {place}; next: finetide run {MODEL}"
    (entry,) = ledger.read(root, MODEL)
    assert (entry.event, entry.bundle_hash, entry.hashes) == ("approved", challenger, {"verdict": asked.verdict_hash})
    with pytest.raises(InputError, match="was approved before, by ann: as agreed"):
        decide(root, MODEL, "approved", "again", "bob")
    reason = "v1 is in service: one is better; approved by ann: as agreed"
    assert conclude.conclude(root, MODEL) == Conclusion("promoted", reason, 0, new=True)
    assert ended(root) == ("promoted", 0, False)
    assert events(root) == ["approved", "promoted"]
    assert waiting.verdict_of(root, MODEL) != asked.verdict_hash


def test_a_loss_within_the_margin_waits_and_no_loss_does_not(root: Path) -> None:
    promote(root, "one")
    judged(root, "two", -0.004)
    assert conclude.conclude(root, MODEL).reason == LOSS
    judged(root, "two", -1e-12)  # a difference of floats
    assert ended(root)[0] == "promoted"
    judged(root, "three", 0.02)
    assert ended(root)[0] == "promoted"


def test_only_what_is_named_is_asked_about(root: Path) -> None:
    ask(root, "loss")
    judged(root, "one")
    assert ended(root)[0] == "promoted"
    ask(root, "first")
    judged(root, "two", -0.004)
    assert ended(root)[0] == "promoted"
    judged(root, "three", -0.2, "reject")
    assert ended(root) == ("rejected", 3, True)


def test_a_yes_to_another_challenger_or_verdict_does_not_count(root: Path) -> None:
    judged(root, "one")
    decide(root, MODEL, "approved", "as agreed", "ann")
    judged(root, "other")
    assert ended(root)[0] == "waiting"
    judged(root, "one", 0.01)  # the same challenger, judged again with another outcome
    assert ended(root)[0] == "waiting"
    judged(root, "one")
    assert ended(root)[0] == "promoted"


def test_what_was_refused_stays_out_until_somebody_says_yes(root: Path) -> None:
    challenger = judged(root, "one")
    decide(root, MODEL, "rejected", "labels first", "bob")
    assert conclude.conclude(root, MODEL) == Conclusion("rejected", "refused by bob: labels first", 3, new=True)
    assert events(root) == ["refused", "rejected"]
    assert ended(root) == ("rejected", 0, False)
    with pytest.raises(GateError, match=r"was refused by bob: labels first\n  fix: change that with finetide approve"):
        conclude.promote_challenger(root, MODEL, force=False, why=None)
    for path in approvals.approvals_folder(root, MODEL).glob("*.json"):  # another worktree has the ledger alone
        path.unlink()
    assert ended(root) == ("rejected", 0, False)
    decide(root, MODEL, "approved", "they came", "ann")
    assert ended(root) == ("promoted", 0, True)
    assert history.champion(ledger.read(root, MODEL)).bundle_hash == challenger  # type: ignore[union-attr]
    assert events(root) == ["refused", "rejected", "approved", "promoted"]


def test_a_person_may_promote_by_hand_what_waits(root: Path) -> None:
    judged(root, "one")
    assert "v1 (" in conclude.promote_challenger(root, MODEL, force=False, why="it is urgent")
    assert events(root) == ["promoted"]
    assert ended(root) == ("promoted", 0, False)


def lock(root: Path, judged_on: Path) -> None:
    """What DVC would have written after the judge ran on this window."""
    path = judged_on.relative_to(root)
    md5 = hashlib.md5(judged_on.read_bytes(), usedforsecurity=False).hexdigest()
    stage = f"  judge@{MODEL}:\n    cmd: judge\n    deps:\n    - path: {path}\n      md5: {md5}\n"
    (root / "dvc.lock").write_text(f"schema: '2.0'\nstages:\n{stage}")


@pytest.mark.parametrize("newer", ["data", "a gate that is shut"])
def test_a_decision_is_about_the_gate_where_the_challenger_is_of_older_data(root: Path, newer: str) -> None:
    judged(root, "one")
    window = root / "data" / MODEL / "window.json"
    lock(root, window)
    asked = waiting.standing(root, MODEL)
    assert asked is not None
    assert asked.about == "promotion"
    if newer == "data":
        window.write_bytes(window.read_bytes() + b"\n")
    else:
        outputs.path_of(root, MODEL, "gate", "gate.json").unlink()
    asked = waiting.standing(root, MODEL)
    assert asked is not None
    assert (asked.about, asked.challenger) == ("gate", None)
    assert decide(root, MODEL, "approved", "expected", "ann").startswith(f"{MODEL}: approved verdict ")


@pytest.fixture
def no_dvc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "is_busy", lambda _: False)
    monkeypatch.setattr(status, "read", lambda _: {})
    monkeypatch.setattr(status, "changes", lambda *_: {})


def test_status_why_report_and_the_run_say_what_is_asked(root: Path, no_dvc: None) -> None:
    judged(root, "one")
    found = status.read_status(root, [MODEL])
    assert (found.models[MODEL].outcome, found.models[MODEL].waiting) == ("waiting", FIRST)
    assert f"  waiting     {FIRST}" in list(status.as_lines(root, found))
    assert f"  waits      {FIRST}: finetide approve {MODEL}, or reject" in list(why.chain(root, MODEL))
    page = build(root, MODEL)
    assert f"{MODEL} · waits for a person" in page
    lines = run.closing_lines(root, MODEL, conclude.conclude(root, MODEL))
    assert lines[0] == f"{MODEL}: waiting: {FIRST}"
    assert lines[-1] == f'  next:       finetide approve {MODEL} --why "…" and run again, or finetide reject {MODEL}'
    decide(root, MODEL, "rejected", "labels first", "bob")
    assert not any(line.startswith("  waits") for line in why.chain(root, MODEL))
    assert "Refused by bob: labels first" in build(root, MODEL)


def test_a_run_that_waits_has_nothing_to_do(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "prepare", lambda *_: [])
    judged(root, "one")
    assert run.nothing_to_do(root, MODEL) == Conclusion("waiting", FIRST, 3, new=True)


def test_a_look_at_the_data_starts_nothing_while_a_promotion_waits(root: Path) -> None:
    judged(root, "one")
    asked = waiting.standing(root, MODEL)
    assert asked is not None
    question = Waiting(
        model=MODEL, about=asked.about, verdict_hash=asked.verdict_hash, reason=asked.reason, flow_run="7", api="x"
    )
    waiting.write(root, question)
    found = finding(root, MODEL, root)
    assert (found.outcome, found.reason) == ("waiting", f"waits for a person: {FIRST}")
    judged(root, "newer")
    assert finding(root, MODEL, root).outcome == "wanted"


def test_the_seconds_of_each_stage_are_of_its_newest_execution(root: Path) -> None:
    for state, took in (("ran", 900.0), ("ran", 41.4), ("cached", 0.5), ("failed", 3.0), ("ran", "torn")):
        journal.append(root, MODEL, stage="train", state=state, seconds=took)
    assert journal.seconds(root, MODEL) == {"train": 41.4}
