"""The calendar of the life cycle, day 0 to 16, as the registry alone sees it: bundles are stand-ins, git is real."""

from __future__ import annotations

from pathlib import Path

import pytest

from finetide.contracts.window import Window
from finetide.errors import GateError
from finetide.registry import alias, history, ledger, service, window
from support.registry import MODEL, drop, promote, roles


def day(number: int) -> str:
    return f"2026-03-{number + 1:02d}T06:00:00+00:00"


def advance(root: Path) -> tuple[Window, list[str]]:
    return window.advance(root, MODEL, None, "champion")


def pin(of: Window) -> str | None:
    return of.champion.version if of.champion else None


def judged(root: Path, about: Window) -> str | None:
    entry = history.already_judged(ledger.read(root, MODEL), history.window_hash(about))
    return entry.event if entry else None


def test_the_calendar(root: Path) -> None:
    # Day 0: the first window is trained and promoted; a second run finds nothing to do.
    first, changes = advance(root)
    assert (changes, judged(root, first)) == ([], None)
    promote(root, "one", at=day(0))
    assert advance(root) == (first, [])
    assert judged(root, first) == "promoted"

    # Day 7: a file is dropped; v1 is pinned and knows all that it was trained on.
    drop(root, "june.csv", "june")
    second, _ = advance(root)
    assert roles(second) == {"base.csv": "reference", "may.csv": "reference", "june.csv": "incoming"}
    assert (pin(second), second.start, judged(root, second)) == ("v1", "champion", None)
    promote(root, "two", at=day(7))

    # Day 8: nothing new.
    assert advance(root) == (second, [])
    assert judged(root, second) == "promoted"

    # Day 10: a challenger loses. Nothing is retried, and its rows wait for more.
    drop(root, "july.csv", "july")
    third, _ = advance(root)
    assert (pin(third), roles(third)["june.csv"], roles(third)["july.csv"]) == ("v2", "reference", "incoming")
    service.record(root, MODEL, "rejected", reason="worse", window=third, bundle_hash="d" * 64, now=lambda: day(10))
    assert advance(root) == (third, [])
    assert judged(root, third) == "rejected"

    # Day 14: more has come, and the shift is harmless: acknowledged, not trained on.
    drop(root, "august.csv", "august")
    fourth, _ = advance(root)
    assert [file.path for file in fourth.paths("incoming")] == ["july.csv", "august.csv"]
    service.record(root, MODEL, "not-needed", reason="harmless", window=fourth, now=lambda: day(14))
    assert advance(root) == (fourth, [])
    assert judged(root, fourth) == "not-needed"
    drop(root, "september.csv", "september")
    fifth, _ = advance(root)
    assert [file.path for file in fifth.paths("incoming")] == ["september.csv"]

    # Day 15: back to v1; what v2 learned from is poisoned.
    service.rollback(root, MODEL, reason="complaints", now=lambda: day(15))
    read = alias.read_alias(root, MODEL)
    assert read is not None
    assert (read.version, read.since) == ("v1", day(15))
    with pytest.raises(GateError, match="withdrawn"):
        promote(root, "two")
    service.exclude(root, MODEL, "june.csv", reason="poisoned", now=lambda: day(15))

    # Day 16: new data; the champion is v1, and what was harmless beside v2 says nothing about v1.
    drop(root, "october.csv", "october")
    sixth, _ = advance(root)
    assert pin(sixth) == "v1"
    assert roles(sixth) == {
        "base.csv": "reference",
        "may.csv": "reference",
        "june.csv": "excluded",
        "july.csv": "incoming",
        "august.csv": "incoming",
        "september.csv": "incoming",
        "october.csv": "incoming",
    }
    assert promote(root, "three", at=day(16)).version == "v3"

    served = [history.champion(history.until(ledger.read(root, MODEL), day(number))) for number in (0, 8, 14, 15, 16)]
    assert [entry.version if entry else None for entry in served] == ["v1", "v2", "v2", "v1", "v3"]
    assert [entry.event for entry in ledger.read(root, MODEL)] == [
        "promoted",
        "promoted",
        "rejected",
        "not-needed",
        "withdrawn",
        "rolled-back",
        "excluded",
        "promoted",
    ]
