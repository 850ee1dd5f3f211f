"""What `finetide history --at` answers, to the second: from before the first promotion to after a rollback."""

from __future__ import annotations

from pathlib import Path

import pytest

from finetide.errors import InputError
from finetide.lifecycle.history import service_at
from finetide.registry import service
from support.registry import MODEL, make_project, promote


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """v1 on the first, v2 on the second, back to v1 on the third; each at noon."""
    folder = make_project(tmp_path_factory.mktemp("history") / "project")
    promote(folder, "one", at="2026-01-01T12:00:00+00:00")
    promote(folder, "two", at="2026-01-02T12:00:00+00:00")
    service.rollback(folder, MODEL, reason="refunds went wrong", who="ann", now=lambda: "2026-01-03T12:00:00+00:00")
    return folder


FIRST = "since 2026-01-01T12:00:00+00:00, promoted: one is better ["
SECOND = "since 2026-01-02T12:00:00+00:00, promoted: two is better ["
BACK = "since 2026-01-03T12:00:00+00:00, rolled-back (promoted 2026-01-01T12:00:00+00:00): refunds went wrong [ann]"


@pytest.mark.parametrize(
    ("time", "version", "said"),
    [
        ("2026-01-01T12:00:00Z", "v1", FIRST),
        ("2026-01-02", "v1", FIRST),
        ("2026-01-02T11:59:59Z", "v1", FIRST),
        ("2026-01-02T12:00:00Z", "v2", SECOND),
        ("2026-01-02T13:00:00+01:00", "v2", SECOND),
        ("2026-01-03T11:59:59.999Z", "v2", SECOND),
        ("2026-01-03T12:00:00Z", "v1", BACK),
        ("2027-01-01", "v1", BACK),
    ],
)
def test_each_moment_has_its_answer(root: Path, time: str, version: str, said: str) -> None:
    answer = service_at(root, MODEL, time)
    assert answer.startswith(f"{MODEL}: {version} (")
    assert said in answer


@pytest.mark.parametrize("time", ["2026-01-01T11:59:59Z", "2026-01-01T12:59:59+01:00", "1999-12-31"])
def test_before_the_first_promotion_nothing_was(root: Path, time: str) -> None:
    assert service_at(root, MODEL, time) == f"{MODEL}: nothing was in service at {time}"


def test_what_is_no_time_is_refused(root: Path) -> None:
    with pytest.raises(InputError) as caught:
        service_at(root, MODEL, "yesterday")
    assert str(caught.value).startswith("--at: is not a time (found 'yesterday')")
