"""What the deployments `monitor` and `retrain` do at a time that is given: the flows' own functions, without a server.

Replaced is what talks to Prefect alone: a task runs where it is called, names, tables and log lines go nowhere, an
event is told in the answer. Each entry runs in a process of its own (`support.forked`), whose clock stands at FT_NOW.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import datetime, tzinfo
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from finetide_flows import approval, artifacts, monitor, notices, place, retrain
from prefect.exceptions import Pause
from prefect.states import Completed, Failed, Paused, Pending

from finetide.cli.main import main as command_line
from finetide.errors import FinetideError
from finetide.registry import clock

NOW = "FT_NOW"
# JSON: a file, and what its writer appends to it between the two looks of a scheduled run.
GROWS = "FT_GROWS"


class Standing(datetime):
    """A clock that stands at FT_NOW: the ledger's times and the policy's days are taken from it."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Standing:
        return cls.fromisoformat(os.environ[NOW]).astimezone(tz)


class Done:
    """In place of the future of a task that was submitted."""

    def __init__(self, state: Any, result: dict[str, Any] | Exception) -> None:
        self.state = state
        self._result = result

    def wait(self) -> None: ...

    def result(self) -> dict[str, Any]:
        if isinstance(self._result, Exception):
            raise self._result
        return self._result


class Here:
    """In place of the task ``stage``: runs what is submitted at once, unless something before it failed."""

    def __init__(self, function: Callable[..., dict[str, Any]]) -> None:
        self._function = function

    def with_options(self, **_names: str) -> Here:
        return self

    def submit(
        self, root: str, address: str, stale: bool, before: Sequence[Done], show_all: bool, *, wait_for: Sequence[Done]
    ) -> Done:
        if not all(one.state.is_completed() for one in wait_for):
            return Done(Pending(name="NotReady"), RuntimeError(f"{address} was not run"))
        try:
            result = self._function(root, address, stale, [one.result() for one in before], show_all)
        except FinetideError as error:
            said = f"{retrain.PREFECT_SAYS}{type(error).__name__}: {error}"
            return Done(Failed(message=said), error)
        return Done(Completed(), result)


def command(arguments: list[str]) -> None:
    """``finetide ARGUMENTS`` at FT_NOW."""
    clock.datetime = Standing  # type: ignore[attr-defined]
    command_line(arguments)


def look(arguments: list[str]) -> None:
    """A run of the deployment `monitor`. Args: arguments: model and project. Prints how it ended, as JSON."""
    _run(monitor.monitor, arguments, "schedule")


def train(arguments: list[str]) -> None:
    """A run of the deployment `retrain`. Args: arguments: model, project and the reason."""
    _run(retrain.retrain, arguments[:2], arguments[2])


def _run(flow: Any, arguments: list[str], reason: str) -> None:
    events: list[str] = []
    _without_server(events)
    _without_dashboard(events)
    model, project = arguments
    try:
        ended = flow.fn(model, project, reason, True)
    except Pause:
        ended = Paused(name="Suspended", message="asks a person")
    print(json.dumps({"name": ended.name, "message": ended.message, "events": events}))


def _without_server(events: list[str]) -> None:
    clock.datetime = Standing  # type: ignore[attr-defined]
    nowhere = logging.getLogger("scheduled")
    nowhere.addHandler(logging.NullHandler())
    nowhere.propagate = False
    for module in (monitor, retrain, place):
        module.get_run_logger = lambda: nowhere
    for name in ("after_look", "after_stage", "after_run"):
        setattr(artifacts, name, lambda *_: None)
    place.rename = lambda *_: None
    place.create_table_artifact = lambda *_, **__: None
    place.drop.pick_up = partial(place.drop.pick_up, wait=_writers_go_on)
    place.take_in = place.take_in.fn
    for name in ("advance_window", "policy", "promotion"):
        setattr(retrain, name, getattr(retrain, name).fn)
    monitor.advance_window = retrain.advance_window
    retrain.Bars = lambda _model: SimpleNamespace(see=lambda _line: None)
    retrain.stage = Here(retrain.stage.fn)
    monitor.emit_event = lambda event, **_: events.append(event)
    notices.send = lambda *_: None


def _without_dashboard(events: list[str]) -> None:
    """A run that asks a person suspends, and stays so: nobody fills in the form."""
    run = SimpleNamespace(id=f"the run of {os.environ[NOW]}", deployment_id="retrain")
    other = SimpleNamespace(id="the run that asked", state=Paused())
    client = SimpleNamespace(read_flow_run=lambda _: other, set_flow_run_state=lambda *_, **__: None)
    approval._run = lambda: run
    approval.get_client = lambda **_: nullcontext(client)
    approval.suspend_flow_run = _suspend
    approval.emit_event = lambda event, **_: events.append(event)
    approval.SETTLE_SECONDS = 0


def _suspend(**_form: Any) -> None:
    raise Pause


def _writers_go_on(_seconds: float) -> None:
    """What happens to the drop folder while a look waits to see whether its files are whole."""
    if GROWS in os.environ:
        growing = json.loads(os.environ[GROWS])
        with Path(growing["file"]).open("a", encoding="utf-8") as stream:
            stream.write(growing["text"])
