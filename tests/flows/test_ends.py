"""Which ends of a run are told, and as what. Without a server; test_notices.py sends them for real."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support.registry import MODEL, make_project, promote

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_project(tmp_path_factory.mktemp("ends") / "project")
    promote(root, "one")
    promote(root, "two")
    return root


def told(home: Path, state: Any, kind: str = "retrain") -> str | None:
    from finetide_flows.notices import of_end

    found = of_end(home, MODEL, kind, state, "http://page")
    return f"{found.kind}: {found.subject}" if found else None


def test_what_a_person_has_to_know_is_told(home: Path) -> None:
    from prefect.states import Completed, Failed

    promoted = Completed(name="Promoted", message="v2 is in service: better by 0.1")
    assert told(home, promoted) == "promoted: tickets: v2 is in service"
    halted = Failed(name="Halted", message="gate@tickets: shut")
    assert told(home, halted) == "halted: tickets: retrain halted, nothing was trained"
    assert told(home, halted, "monitor") == "halted: tickets: monitor halted, nothing was trained"
    for name in ("Failed", "Busy", "Refused"):
        assert told(home, Failed(name=name, message="why"), "monitor") == "failed: tickets: monitor failed"


def test_what_can_wait_is_not(home: Path) -> None:
    from prefect.states import Completed

    for name in ("Rejected", "NotNeeded", "Postponed", "Unchanged", "Refused", "Waiting", "Skipped", "Quiet", "Busy"):
        assert told(home, Completed(name=name, message="why")) is None


def test_a_run_that_confirms_an_earlier_promotion_is_no_promotion(home: Path) -> None:
    from prefect.states import Completed

    assert told(home, Completed(name="Promoted", message="better by 0.1")) is None
    assert told(home, Completed(name="Promoted", message="v1 is in service: better by 0.1")) is None


def test_the_flows_tell_at_their_ends() -> None:
    from finetide_flows import monitor, notices, retrain

    assert retrain.retrain.on_completion_hooks == [notices.tell]
    assert retrain.retrain.on_failure_hooks == [notices.tell]
    assert monitor.monitor.on_failure_hooks == [notices.tell]
