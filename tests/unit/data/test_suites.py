from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from finetide.config.common import TaskName
from finetide.data.suites import default_suite
from finetide.errors import DataError
from finetide.files import canonical_json

PROJECT = Path(__file__).parents[3]


@pytest.mark.parametrize("task", get_args(TaskName))
def test_every_task_has_a_suite_whose_expectations_say_severity_and_meaning(task: str) -> None:
    suite = default_suite(task)
    assert suite["name"] == task
    assert {entry["severity"] for entry in suite["expectations"]} == {"critical", "warning", "info"}
    assert all(entry["meta"]["notes"] for entry in suite["expectations"])


def test_the_suite_of_tickets_is_the_one_that_init_writes() -> None:
    assert (PROJECT / "data" / "tickets" / "suite.json").read_bytes() == canonical_json(
        default_suite("text-classification")
    )


def test_other_tasks_have_none() -> None:
    with pytest.raises(DataError, match=r"there is no suite for this task \(found 'poetry'\)\n  fix: known: text-cl"):
        default_suite("poetry")
