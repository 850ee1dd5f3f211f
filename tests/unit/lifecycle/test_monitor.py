"""Is what arrived worth a retraining now? Each answer once."""

from __future__ import annotations

from pathlib import Path

from finetide.contracts.operate import Waiting
from finetide.lifecycle import waiting
from finetide.lifecycle.monitor import Finding, finding
from finetide.registry import approvals, service, window
from support.artifacts import Artifacts
from support.registry import MODEL, drop, promote


def seen(root: Path) -> Finding:
    return finding(root, MODEL, root)


def arrive(made: Artifacts) -> None:
    """A champion is in service, and a new file came since."""
    promote(made.root, "one")
    drop(made.root, "june.csv", "text,label\nnew,greeting\n")
    window.advance(made.root, MODEL, [], "base")


def test_a_first_model_is_wanted_whatever_the_shift(made: Artifacts) -> None:
    made.shift("none")
    assert (seen(made.root).outcome, seen(made.root).reason) == ("wanted", "no champion yet")


def test_a_shift_in_retrain_on_is_wanted_and_another_is_not(made: Artifacts) -> None:
    arrive(made)
    assert (seen(made.root).outcome, seen(made.root).verdict) == ("wanted", "adapt")
    made.shift("harmless")
    assert seen(made.root).outcome == "quiet"


def test_what_was_decided_before_starts_nothing_again(made: Artifacts) -> None:
    promote(made.root, "one")
    assert seen(made.root).outcome == "known"
    arrive(made)
    now = window.read_window(made.root, MODEL)
    service.record(made.root, MODEL, "rejected", reason="worse on refunds", window=now)
    found = seen(made.root)
    assert found.outcome == "known"
    assert found.reason.endswith("rejected: worse on refunds")


def test_bad_data_start_no_retraining(made: Artifacts) -> None:
    arrive(made)
    made.quality("fail")
    found = seen(made.root)
    assert found.outcome == "halted"
    assert found.reason.startswith("validate: ")


def test_what_a_person_is_asked_or_has_refused_starts_nothing(made: Artifacts) -> None:
    arrive(made)
    made.shift("halt")
    assert seen(made.root).outcome == "wanted"
    verdict = waiting.verdict_of(made.root, MODEL)
    assert verdict is not None
    question = Waiting(model=MODEL, verdict_hash=verdict, reason="inputs of an unknown kind", flow_run="7", api="x")
    waiting.write(made.root, question)
    assert (seen(made.root).outcome, seen(made.root).reason) == (
        "waiting",
        "waits for a person: inputs of an unknown kind",
    )
    approvals.write_approval(made.root, MODEL, verdict, "rejected", why="labels first", who="ann")
    assert (seen(made.root).outcome, seen(made.root).reason) == ("known", "refused by ann: labels first")
