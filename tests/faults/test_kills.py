"""A sample of the kills of `make faults`; the tally of all is docs/faults.jsonl."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from faults import run as harness
from faults import template, trial
from faults.points import POINTS
from faults.trial import Ending, Kill
from support.forked import QUIET, Forks
from support.once import once
from support.project import finetide

Known = tuple[Path, Ending, float]


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory, forks: Forks) -> Known:
    """A fresh project, how a run of it ends when nobody kills it, and its seconds."""

    def make(folder: Path) -> None:
        made = template.fresh(folder / "fresh")
        expected, seconds, _ = trial.undisturbed(forks, made, folder / "undisturbed")
        (folder / "known.json").write_text(json.dumps([asdict(expected), seconds]))

    folder = once(tmp_path_factory, "kills", make)
    expected, seconds = json.loads((folder / "known.json").read_text())
    return folder / "fresh", Ending(**expected), seconds


def holds(found: trial.Trial) -> None:
    assert not found.wrong, f"{found.struck}\n{found.wrong}\n{found.log}"


@pytest.mark.parametrize("number", [11, *(pytest.param(number, marks=pytest.mark.slow) for number in (12, 15))])
def test_a_kill_at_a_random_time(number: int, known: Known, forks: Forks, tmp_path: Path) -> None:
    made, expected, seconds = known
    kill = harness.plan(number, seconds, 1)
    assert kill.at is not None
    holds(trial.run_trial(forks, made, tmp_path / "t", kill, expected))


@pytest.mark.parametrize(
    "point",
    [
        "ledger written",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("dvc.lock half", "cache copy", "checkpoint kept", "alias begun")
        ),
    ],
)
def test_a_kill_at_a_point(point: str, known: Known, forks: Forks, tmp_path: Path) -> None:
    assert point in POINTS
    made, expected, _ = known
    found = trial.run_trial(forks, made, tmp_path / "t", Kill(0, point=point), expected)
    assert found.struck != "not reached"
    holds(found)


@pytest.mark.slow
def test_a_trial_sees_what_is_wrong(known: Known, forks: Forks, tmp_path: Path) -> None:
    """A harness that cannot fail shows nothing: another ending is noticed, and the project is kept to look at."""
    made, expected, _ = known
    other = Ending(expected.outputs, "0" * 64, expected.events[:-1], expected.files)
    found = trial.run_trial(forks, made, tmp_path / "t", Kill(0, target="tree", at=0.3), other)
    assert [line.split()[0] for line in found.wrong] == ["champion", "events"]
    assert (tmp_path / "t" / "project").is_dir()


def test_the_page_is_written_from_the_tally() -> None:
    assert harness.PAGE.read_text(encoding="utf-8") == harness.page(), "python tests/faults/run.py --kills 0"


@pytest.mark.slow
def test_forked_and_real_processes_end_alike(known: Known, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in QUIET.items():  # sums on two threads have other last digits
        monkeypatch.setenv(name, value)
    made, expected, _ = known
    root = trial.copy(made, tmp_path / "t")
    finetide(root, "run")
    assert trial.ending(root) == expected
