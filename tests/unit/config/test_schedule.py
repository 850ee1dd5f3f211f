"""When runs are due: what is refused, and with which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from finetide.config.load import read_yaml
from finetide.config.params import model_params
from finetide.config.schedule import TimesParams
from finetide.errors import ConfigError
from finetide.files import write_text
from support.artifacts import PROJECT
from support.project import edit_params


def refused(tmp_path: Path, change: Any) -> str:
    write_text(tmp_path / "params.yaml", (PROJECT / "params.yaml").read_text(encoding="utf-8"))
    edit_params(tmp_path, lambda params: change(params["schedule"]), "tickets")
    with pytest.raises(ConfigError) as caught:
        model_params(tmp_path, "tickets")
    return str(caught.value)


def test_every_fault_is_told_by_its_path(tmp_path: Path) -> None:
    def change(schedule: Any) -> None:
        schedule["timezone"] = "Mars/Olympus"
        schedule["retrain"]["every_minutes"] = 60
        schedule["monitor"].update(every_minutes=None, rrule="FREQ=SOMETIMES")
        schedule["monitor"]["missed"] = "maybe"

    said = refused(tmp_path, change)
    at = "models.tickets.schedule"
    assert f"{at}.timezone: must be a time zone as the IANA names it, e.g. UTC or Europe/Berlin" in said
    assert f"{at}.retrain: give at most one of cron, every_minutes and rrule, and null for the others" in said
    assert f"{at}.monitor.rrule: must be a recurrence rule of RFC 5545: " in said
    assert f"{at}.monitor.missed: must be 'latest-only', 'all' or 'skip' (found 'maybe')" in said


def test_a_cron_line_is_refused_with_its_path(tmp_path: Path) -> None:
    said = refused(tmp_path, lambda schedule: schedule["retrain"].update(cron="15 25 * * *"))
    assert "models.tickets.schedule.retrain.cron: hour: '25' is not between 0 and 23 (found '15 25 * * *')" in said


def test_whom_to_tell_is_checked_too(tmp_path: Path) -> None:
    at = "models.tickets.schedule.notify"
    said = refused(tmp_path, lambda schedule: schedule["notify"].update(blocks=["ops"], about=["everything"]))
    assert (
        f"{at}.blocks[0]: must be TYPE/NAME of a notification block, as the dashboard names them, e.g. "
        "slack-webhook/ops (found 'ops')"
    ) in said
    assert f"{at}.about[0]: must be 'failed', 'halted', 'approval-wanted', 'promoted', " in said
    said = refused(tmp_path, lambda schedule: schedule["notify"].update(about=["failed", "halted", "failed"]))
    assert f"{at}.about: names 'failed' twice" in said


def test_no_stage_reads_the_schedule() -> None:
    """Else another night would make a model stale."""
    read = [
        str(param) for stage in read_yaml(PROJECT / "dvc.yaml")["stages"].values() for param in stage["do"]["params"]
    ]
    assert not [param for param in read if "schedule" in param]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"cron": "15 3 * * *"}, "15 3 * * * Europe/Berlin"),
        ({"every_minutes": 0.5}, "every 0.5 minutes"),
        ({"rrule": "FREQ=DAILY"}, "FREQ=DAILY Europe/Berlin"),
        ({}, "by hand or by an event only"),
    ],
)
def test_times_are_said_for_a_person(given: dict[str, Any], said: str) -> None:
    times = {"cron": None, "every_minutes": None, "rrule": None, "missed": "all", **given}
    assert TimesParams.model_validate(times).said("Europe/Berlin") == said
