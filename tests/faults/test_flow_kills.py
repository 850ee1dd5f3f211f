"""The first twenty of the trials of `make flow-faults`; the tally of all is docs/flow-faults.jsonl.

Four of them, each of another kind, are in the default tests: twenty would take ten minutes of one core.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from faults import flow_run as harness
from faults.flow_trial import Known, Trial, run_trial, undisturbed
from faults.machine import Machine, machine
from faults.trial import Ending

# Of a stage, of the server, a full disk, a cancelled run.
DEFAULT = (2, 0, 12, 13)
NOBODY = Known(Ending({}, "", [], {}), [], 20.0, 1000)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Machine, Known]]:
    with machine(tmp_path_factory.mktemp("flows") / "machine") as up:
        yield up, undisturbed(up)


def holds(found: Trial) -> None:
    assert not found.wrong, f"{found.fault}\n{found.struck}\n{found.first}\n{found.second}\n{found.wrong}"


@pytest.mark.parametrize(
    "number",
    [*DEFAULT, *(pytest.param(one, marks=pytest.mark.slow) for one in range(20) if one not in DEFAULT)],
)
def test_a_scheduled_run_survives(number: int, made: tuple[Machine, Known]) -> None:
    up, known = made
    holds(run_trial(up, harness.plan(number, known), known))


@pytest.mark.slow
def test_a_trial_sees_what_is_wrong(made: tuple[Machine, Known]) -> None:
    """A harness that cannot fail shows nothing."""
    up, known = made
    other = replace(known.ending, champion="0" * 64, events=known.ending.events[:-1])
    found = run_trial(up, harness.Fault(0, "stage", 3.0), replace(known, ending=other))
    assert [line.split()[0] for line in found.wrong] == ["in", "champion", "events"], found


def test_the_plan_has_200_kills_and_20_of_each_other_kind() -> None:
    planned = [harness.plan(number, NOBODY) for number in range(harness.TRIALS)]
    kinds = Counter(fault.kind for fault in planned)
    assert sum(kinds[kind] for kind in harness.KILLS) == 200
    assert all(kinds[kind] > 30 for kind in harness.KILLS)
    assert {kinds[kind] for kind in harness.OTHERS} == {20}
    assert sum(fault.waits for fault in planned) == 20
    assert planned == [harness.plan(number, NOBODY) for number in range(harness.TRIALS)]


def test_the_page_is_written_from_the_tally() -> None:
    said = "python tests/faults/flow_run.py --trials 0"
    assert harness.PAGE.read_text(encoding="utf-8") == harness.page(), said


def test_the_tally_has_each_trial_once() -> None:
    assert len(harness.done()) == len(harness.TALLY.read_text(encoding="utf-8").splitlines())
