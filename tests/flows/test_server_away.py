"""A server that is away ends no run. Without one: what Prefect's client raises then is raised here."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    from finetide_flows import dashboard, retrain

    logger = logging.getLogger("finetide.test")
    for module in (dashboard, retrain):
        monkeypatch.setattr(module, "get_run_logger", lambda: logger)
    monkeypatch.setattr(dashboard, "TRIES", (0.0, 0.0, 0.0))
    monkeypatch.setattr(dashboard, "_missing", [])
    return caplog


def failing(times: int, made: list[str]) -> Any:
    """In place of ``create_table_artifact``: fails so often, as a server does that is started again."""
    import httpx

    left = [None] * times

    def create(_rows: list[Any], *, key: str) -> None:
        if left:
            left.pop()
            raise httpx.ConnectError("All connection attempts failed")
        made.append(key)

    return create


def test_an_artifact_waits_for_a_server_that_is_started_again(said: pytest.LogCaptureFixture) -> None:
    from finetide_flows.dashboard import publish

    made: list[str] = []
    publish(failing(2, made), [], key="mail-judge")
    assert made == ["mail-judge"]
    assert not said.records


def test_without_a_server_the_log_says_what_is_missing_and_nothing_waits_again(said: pytest.LogCaptureFixture) -> None:
    from finetide_flows.dashboard import publish

    made: list[str] = []
    away = failing(4, made)
    publish(away, [], key="mail-judge")  # three tries
    publish(away, [], key="mail-card")  # one
    publish(away, [], key="mail-report")
    assert made == ["mail-report"]
    assert [record.getMessage() for record in said.records] == [
        f"the dashboard does not show {key}: All connection attempts failed" for key in ("mail-judge", "mail-card")
    ]
    again = failing(2, made)  # it was back: what follows is waited for
    publish(again, [], key="mail-judge")
    assert made == ["mail-report", "mail-judge"]


def test_a_fault_of_our_own_is_not_taken_for_a_server_that_is_away(said: pytest.LogCaptureFixture) -> None:
    from finetide_flows.dashboard import publish

    def create(*, key: str) -> None:
        raise ValueError(key)

    with pytest.raises(ValueError, match="mail-judge"):
        publish(create, key="mail-judge")


def slot(monkeypatch: pytest.MonkeyPatch, enter: Exception | None, leave: Exception | None) -> Any:
    from finetide_flows import retrain

    @contextmanager
    def taken(*_: Any, **options: Any) -> Iterator[None]:
        assert options["raise_on_lease_renewal_failure"] is False
        if enter:
            raise enter
        yield
        if leave:
            raise leave

    monkeypatch.setattr(retrain, "concurrency", taken)
    monkeypatch.setattr(retrain.up, "read", lambda _home: SimpleNamespace(pool="finetide"))
    return retrain._slot(Path(), True)


def refused(cause: Exception) -> Exception:
    from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError

    error = ConcurrencySlotAcquisitionError("Unable to acquire concurrency slots on ['finetide-training']")
    error.__cause__ = cause
    return error


def test_a_training_begins_without_the_server_and_ends_without_it(
    said: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    import httpx

    away = httpx.ConnectError("All connection attempts failed")
    trained = []
    for enter, leave in ((refused(away), None), (None, away), (None, None)):
        with slot(monkeypatch, enter, leave):
            trained.append(1)
    assert len(trained) == 3
    told = [record.getMessage() for record in said.records]
    assert told[0].startswith("the server is away, so this training waits for no other: ")
    assert told[1] == "the slot is free in 60 s, once its lease has run out: All connection attempts failed"
    assert len(told) == 2


def test_a_limit_that_is_not_there_is_no_server_that_is_away(
    said: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Exception, match="Unable to acquire"), slot(monkeypatch, refused(ValueError("none")), None):
        pass


def test_what_the_training_raises_is_raised(said: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyError), slot(monkeypatch, None, None):
        raise KeyError("train")


def test_a_lease_that_cannot_be_renewed_ends_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefect's own code, with a renewal that fails at once: it ends a run, and under our flows it does not."""
    import time

    from finetide_flows import retrain
    from prefect import flow_engine
    from prefect.concurrency import _leases

    def fail(*_: Any) -> None:
        raise ConnectionError("away")

    monkeypatch.setattr(_leases, "_lease_renewal_loop", fail)
    assert retrain.leases is not None  # to import the flow is enough

    def at_work(maintained: Any) -> str:
        try:
            with maintained:
                for _ in range(100):
                    time.sleep(0.01)
        except BaseException as error:
            return type(error).__name__
        return "done"

    assert at_work(_leases.maintain_concurrency_lease(uuid4(), 300, raise_on_lease_renewal_failure=True)) != "done"
    ours: Any = flow_engine.maintain_concurrency_lease
    assert at_work(ours(uuid4(), 300, raise_on_lease_renewal_failure=True)) == "done"
