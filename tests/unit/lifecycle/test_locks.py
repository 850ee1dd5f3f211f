"""A model's stages in dvc.lock, out of its own ledger; the other models' are left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from finetide.lifecycle import locks
from finetide.registry import ledger
from support.registry import MODEL, make_project, promote

OTHER = "mails"
Lock = dict[str, dict[str, object]]


def stage(value: str) -> dict[str, object]:
    return {"cmd": "finetide-stage", "deps": [{"path": "a", "hash": "md5", "md5": value, "size": 1}]}


def write(root: Path, stages: Lock) -> None:
    with (root / "dvc.lock").open("w", encoding="utf-8") as stream:
        YAML().dump({"schema": "2.0", "stages": stages}, stream)


def read(root: Path) -> Lock:
    found: Lock = YAML(typ="safe").load(root / "dvc.lock")["stages"]
    return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two models: each has an entry in its ledger, `mails` at a later time and with other stages of `tickets`."""
    root = make_project(tmp_path / "p")
    write(root, {f"train@{MODEL}": stage("1"), f"judge@{MODEL}": stage("2"), f"train@{OTHER}": stage("old")})
    promote(root, "one")
    write(root, {f"train@{MODEL}": stage("later"), f"train@{OTHER}": stage("3")})
    ledger.append(root, OTHER, lambda _: [ledger.Draft("rejected", "worse")])
    return root


BOTH = {f"train@{MODEL}": stage("1"), f"judge@{MODEL}": stage("2"), f"train@{OTHER}": stage("3")}


@pytest.mark.parametrize("left", [None, "", "schema: '2.0'\nstages:\n  train@tickets:\n    cmd: fin"])
def test_each_model_brings_its_own_stages_back(root: Path, left: str | None) -> None:
    (root / "dvc.lock").unlink()
    if left is not None:
        (root / "dvc.lock").write_text(left)
    assert locks.bring_back(root, MODEL) == ["repaired: dvc.lock has the stages of entry 1 of the ledger again"]
    assert read(root) == {name: value for name, value in BOTH.items() if name.endswith(MODEL)}
    assert locks.bring_back(root, OTHER) == ["repaired: dvc.lock has the stages of entry 1 of the ledger again"]
    assert read(root) == BOTH
    assert (locks.bring_back(root, MODEL), locks.bring_back(root, OTHER)) == ([], [])


def test_a_model_that_the_lock_knows_is_left_alone(root: Path) -> None:
    write(root, {f"train@{MODEL}": stage("mine"), f"train@{OTHER}": stage("3")})
    before = (root / "dvc.lock").read_bytes()
    assert locks.bring_back(root, MODEL) == []
    assert (root / "dvc.lock").read_bytes() == before


def test_a_model_whose_name_ends_like_another_is_not_taken_for_it(root: Path) -> None:
    write(root, {f"train@old-{MODEL}": stage("9")})
    locks.bring_back(root, MODEL)
    assert set(read(root)) == {f"train@old-{MODEL}", f"train@{MODEL}", f"judge@{MODEL}"}


def test_without_a_ledger_or_a_lock_in_it_there_is_nothing_to_bring(root: Path) -> None:
    (root / "dvc.lock").unlink()
    assert locks.bring_back(root, "third") == []
    ledger.append(root, "third", lambda _: [ledger.Draft("rejected", "without a lock in its tree")])
    assert locks.bring_back(root, "third") == []
    assert not (root / "dvc.lock").exists()


def test_stages_of_a_commit_replace_those_that_are_there(root: Path) -> None:
    assert locks.take(root, MODEL, ledger.run_commit(root, MODEL, 1)) == [f"train@{MODEL}", f"judge@{MODEL}"]
    assert read(root) == BOTH
    assert locks.take(root, "third", ledger.run_commit(root, MODEL, 1)) == []
