"""Missed runs are made up for as declared: a pure function of what was due and what waits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

pytestmark = pytest.mark.filterwarnings("default")
START = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)
LATE_AFTER = timedelta(minutes=10)


def played(missed: str, due: list[float], begins: list[float]) -> list[float]:
    """Which of the runs do their work, by when they were due; they begin one after the other, in this order.

    Args: due, begins: hours after START.
    """
    from finetide_flows.due import superseded

    done: dict[float, datetime] = {}
    for hour, begin in zip(due, begins, strict=True):
        was_due = START + timedelta(hours=hour)
        begun = [time for time in done.values() if time > was_due]
        why = superseded(
            missed, was_due, START + timedelta(hours=begin), LATE_AFTER, lambda begun=begun: max(begun, default=None)
        )
        if why is None:
            done[hour] = START + timedelta(hours=begin)
    return list(done)


@pytest.mark.parametrize(
    ("missed", "done"),
    [("all", [0, 1, 2, 3, 5]), ("latest-only", [0, 5]), ("skip", [5])],
)
def test_after_downtime_exactly_what_was_declared_runs(missed: str, done: list[float]) -> None:
    """Nobody was there from 0 to 4; then all that was due begins, and the run due at 5 begins on time."""
    assert played(missed, [0, 1, 2, 3, 5], [4, 4.1, 4.2, 4.3, 5]) == done


@pytest.mark.parametrize(
    ("missed", "done"),
    [("all", [0, 1, 2, 3, 5]), ("latest-only", [0, 1, 5]), ("skip", [0, 5])],
)
def test_of_runs_that_waited_for_a_long_one(missed: str, done: list[float]) -> None:
    """The run due at 0 takes four hours; what came after it began is looked at by one more."""
    assert played(missed, [0, 1, 2, 3, 5], [0, 4, 4.1, 4.2, 5]) == done


def test_a_machine_that_is_always_behind_still_comes_to_run() -> None:
    """Each begins an hour and a half late, with a run due every hour."""
    due: list[float] = [0, 1, 2, 3, 4, 5]
    assert played("latest-only", due, [hour + 1.5 for hour in due]) == [0, 2, 4]


def test_the_reason_names_the_times() -> None:
    from finetide_flows.due import superseded

    now = START + timedelta(minutes=95)
    assert superseded("skip", START, now, LATE_AFTER, lambda: None) == (
        "was due 2026-11-20 03:00 UTC, 95 minutes ago; missed runs are skipped"
    )
    assert superseded("latest-only", START, now, LATE_AFTER, lambda: START + timedelta(hours=1)) == (
        "was due 2026-11-20 03:00 UTC; the one that began 2026-11-20 04:00 UTC did its work"
    )
    assert superseded("latest-only", START, now, LATE_AFTER, lambda: None) is None


def test_what_the_server_is_told_of_overlap() -> None:
    from finetide_flows.deploy import collision

    from finetide.config.schedule import TimesParams

    def word(missed: str) -> str:
        times = {"cron": None, "every_minutes": 5.0, "rrule": None, "missed": missed}
        return str(collision(TimesParams.model_validate(times)).value)

    assert {missed: word(missed) for missed in ("all", "latest-only", "skip")} == {
        "all": "ENQUEUE", "latest-only": "ENQUEUE", "skip": "CANCEL_NEW",
    }  # fmt: skip


def test_a_line_of_training_becomes_a_bar() -> None:
    from finetide_flows.progress import parse

    said = "tune 2/2: step 12/120, epoch 0.3 of 3, loss 0.512, 01:20 left"
    assert parse(f"  {said}") == ("tune 2/2", 10.0, "epoch 0.3 of 3, loss 0.512, 01:20 left")
    assert parse("tune: validation accuracy 93 %") is None


def test_a_failed_stage_is_told_in_its_own_words() -> None:
    from finetide_flows.retrain import said

    assert said("Task run encountered an exception GateError: stage gate@mail failed: shut") == (
        "stage gate@mail failed: shut"
    )
    assert said("no heartbeat: the process is gone") == "no heartbeat: the process is gone"
