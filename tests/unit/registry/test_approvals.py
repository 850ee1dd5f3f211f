from __future__ import annotations

from pathlib import Path

import pytest

from finetide.contracts.gate import read_approvals
from finetide.errors import InputError, IntegrityError
from finetide.registry.approvals import approvals_folder, write_approval
from support.registry import MODEL, git

HASH = "0123456789abcdef" + "0" * 48


def test_a_decision_is_written_under_the_hash_of_its_verdict(root: Path) -> None:
    git(root, "config", "user.name", "Some One")
    path = write_approval(root, MODEL, HASH, "approved", why=" expected ", now=lambda: "2026-01-01T00:00:00+00:00")
    assert path == root / "approvals" / MODEL / "0123456789abcdef-approved.json"
    (approval,) = read_approvals(approvals_folder(root, MODEL))
    assert approval.model_dump() == {
        "schema_version": 1,
        "model": MODEL,
        "verdict_hash": HASH,
        "decision": "approved",
        "who": "Some One",
        "why": "expected",
        "time": "2026-01-01T00:00:00+00:00",
    }


def test_the_newest_decision_stands(root: Path) -> None:
    write_approval(root, MODEL, HASH, "approved", why="a", who="x")
    write_approval(root, MODEL, HASH, "rejected", why="b", who="y")
    assert [(item.decision, item.who) for item in read_approvals(approvals_folder(root, MODEL))] == [("rejected", "y")]


def test_a_decision_is_not_taken_twice(root: Path) -> None:
    write_approval(root, MODEL, HASH, "approved", why="expected", who="x")
    with pytest.raises(InputError, match="was approved before, by x: expected"):
        write_approval(root, MODEL, HASH, "approved", why="other", who="y")


def test_a_decision_needs_a_hash_and_a_reason(root: Path) -> None:
    with pytest.raises(InputError, match=r"is not the hash of a verdict \(found 'latest'\)\n  fix: copy it from what"):
        write_approval(root, MODEL, "latest", "approved", why="x")
    with pytest.raises(InputError, match=r"a decision needs a reason\n  fix: say why"):
        write_approval(root, MODEL, HASH, "approved", why=" ")


def test_an_empty_or_missing_folder_holds_no_decisions(root: Path) -> None:
    assert read_approvals(approvals_folder(root, MODEL)) == []
    assert read_approvals(root / "nowhere") == []


def test_a_torn_decision_is_found(root: Path) -> None:
    path = write_approval(root, MODEL, HASH, "approved", why="a", who="x")
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(IntegrityError, match=r"-approved\.json: is not valid JSON"):
        read_approvals(path.parent)


def test_a_decision_under_another_name_or_model_is_found(root: Path) -> None:
    path = write_approval(root, MODEL, HASH, "rejected", why="a", who="x")
    elsewhere = root / "approvals" / "orders" / path.name
    elsewhere.parent.mkdir()
    elsewhere.write_bytes(path.read_bytes())
    message = r"holds a decision of tickets about verdict 0123456789abcdef\n  fix: decide again with finetide approve"
    with pytest.raises(IntegrityError, match=message):
        read_approvals(elsewhere.parent)
    path.rename(path.with_name("0123456789abcdef-approved.json"))
    with pytest.raises(IntegrityError, match=message):
        read_approvals(path.parent)
