"""One line a stage, and how a run ends."""

from __future__ import annotations

import pytest

from finetide.contracts.bundle import Parity
from finetide.contracts.judge import JudgeVerdict
from finetide.contracts.metrics import Measure, Metrics
from finetide.lifecycle import conclude, outputs, run, status
from finetide.lifecycle.conclude import Conclusion
from finetide.registry import ledger, service, window
from finetide.report import build
from support.artifacts import Artifacts
from support.registry import MODEL, promote


def calibrated(made: Artifacts, raw: float, scaled: float) -> None:
    def measure(value: float) -> Measure:
        return Measure(value=value, low=None, high=None, rows=50)

    path = outputs.path_of(made.root, MODEL, "evaluate", "metrics.json")
    found = Metrics.read(path)
    both = {"ece": measure(raw), "ece_calibrated": measure(scaled)}
    found.model_copy(update={"roles": {**found.roles, "reference": {**found.roles["reference"], **both}}}).write(path)


def test_calibration_that_got_worse_is_flagged(made: Artifacts) -> None:
    for role in ("reference", "incoming", "all"):
        assert role in Metrics.read(outputs.path_of(made.root, MODEL, "evaluate", "metrics.json")).roles
    calibrated(made, 0.031, 0.062)
    said = outputs.sentence(made.root, MODEL, "evaluate")
    assert "; calibration got worse (" in said
    assert "reference: ECE 0.031 → 0.062" in said
    page = build(made.root, MODEL)
    assert "Temperature scaling made it worse on the test rows (" in page
    assert "reference: ECE 0.031 → 0.062" in page


def test_calibration_that_got_better_or_stayed_is_not(made: Artifacts) -> None:
    path = outputs.path_of(made.root, MODEL, "evaluate", "metrics.json")
    found = Metrics.read(path)
    found.model_copy(update={"roles": {"reference": found.roles["reference"]}}).write(path)
    for raw, scaled in ((0.06, 0.03), (0.030, 0.034)):
        calibrated(made, raw, scaled)
        assert "calibration" not in outputs.sentence(made.root, MODEL, "evaluate")
        assert "Temperature scaling made it worse" not in build(made.root, MODEL)


@pytest.mark.parametrize(
    ("kept", "said"),
    [(True, "int8 variant also in the bundle, fp32 serves: R"), (False, "int8 variant left out: R")],
)
def test_the_int8_line_says_what_serves(made: Artifacts, kept: bool, said: str) -> None:
    path = outputs.path_of(made.root, MODEL, "export", "parity.json")
    found = Parity.read(path)
    assert found.int8 is not None
    found.model_copy(update={"int8": found.int8.model_copy(update={"kept": kept, "reason": "R"})}).write(path)
    assert outputs.sentence(made.root, MODEL, "export").endswith(f"100.00% same answers; {said}")


def test_baselines_are_named_in_words(made: Artifacts, monkeypatch: pytest.MonkeyPatch) -> None:
    page = build(made.root, MODEL)
    assert "logistic regression on the frozen base" in page
    assert "linear probe" not in page
    monkeypatch.setattr(status, "is_busy", lambda _: True)
    text = "\n".join(status.as_lines(made.root, status.read_status(made.root, [MODEL])))
    assert "  beside it   accuracy on both together: majority" not in text
    assert "beside it   accuracy on both together: " in text
    assert "logistic regression on the frozen base 0." in text


def test_an_end_after_stages_that_ran_again_does_not_say_that_nothing_changed(
    made: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "write", lambda *_: "page.html")
    old = Conclusion("promoted", "why", 0, new=False)
    assert run.closing_lines(made.root, MODEL, old)[0] == f"{MODEL}: promoted (nothing changed since): why"
    said = run.closing_lines(made.root, MODEL, old, ["judge"])[0]
    assert said == f"{MODEL}: promoted (as decided before; judge ran again and changed nothing about it): why"
    new = Conclusion("promoted", "why", 0, new=True)
    assert run.closing_lines(made.root, MODEL, new, ["judge"])[0] == f"{MODEL}: promoted: why"


@pytest.fixture
def settled(made: Artifacts, monkeypatch: pytest.MonkeyPatch) -> Artifacts:
    monkeypatch.setattr(conclude, "dirty", lambda *_: set())
    monkeypatch.setattr(conclude, "read", lambda _: {})
    monkeypatch.setattr(conclude, "training_needed", lambda *_: (True, "yes"))
    return made


def judged(made: Artifacts, **said: object) -> JudgeVerdict:
    path = outputs.path_of(made.root, MODEL, "judge", "judge.json")
    found = JudgeVerdict.read(path).model_copy(update=said)
    found.write(path)
    return found


def test_a_judge_who_rejects_today_what_is_in_service_is_heard(settled: Artifacts) -> None:
    root = settled.root
    one = promote(root, "one")
    pinned = {"window": conclude.sha256_file(window.window_path(root, MODEL))}
    about = window.read_window(root, MODEL)
    ledger.append(root, MODEL, lambda _: [ledger.Draft("promoted", "good", "v1", one.bundle_hash, about, pinned)])
    judged(settled, challenger_hash=one.bundle_hash, verdict="reject", reason="below the floor")
    ended = conclude.conclude(root, MODEL)
    assert (ended.outcome, ended.new) == ("promoted", False)
    assert ended.reason == "good; the judge, run again since, would reject it now: below the floor"


def test_a_judge_with_other_limits_may_promote_what_was_rejected(
    settled: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = settled.root
    one = promote(root, "one")
    bundle = outputs.path_of(root, MODEL, "export", "bundle")
    challenger = conclude.sha256_file(bundle / "manifest.json")
    judged(settled, challenger_hash=challenger, champion_hash=one.bundle_hash, verdict="reject", reason="a bit low")
    first, second = conclude.conclude(root, MODEL), conclude.conclude(root, MODEL)
    assert [(end.outcome, end.exit_code, end.new) for end in (first, second)] == [
        ("rejected", 3, True),
        ("rejected", 0, False),
    ]
    promoted: list[str] = []
    monkeypatch.setattr(service, "promote", lambda *_, reason, **__: promoted.append(reason) or one)
    judged(settled, verdict="promote", reason="high enough now")
    ended = conclude.conclude(root, MODEL)
    assert (ended.outcome, ended.new, promoted) == ("promoted", True, ["high enough now"])
