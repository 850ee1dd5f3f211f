"""When a flow tells people something. Prefect calls `tell` at the end of a run, also after an error of our own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from finetide_flows import place
from prefect.events import emit_event
from prefect.utilities.urls import url_for

from finetide.cli.shared import find_project
from finetide.operate import notices
from finetide.operate.notices import Notice


def tell(flow: Any, run: Any, state: Any) -> None:
    """Send the notice that this end is worth, if any. Args: as Prefect hands them to a hook."""
    given = run.parameters
    home = find_project(Path(given["project"]) if given.get("project") else None)
    if found := of_end(home, given["model"], flow.name, state, url_for("flow-run", run.id)):
        send(home, found)


def of_end(home: Path, model: str, kind: str, state: Any, page: str | None) -> Notice | None:
    """None for what nobody has to know of at once: a rejection, a refusal by a person, nothing new.

    Args: kind: name of the flow. page: the run's address.
    """
    said = str(state.message or "")
    if state.is_failed():
        if state.name == "Halted":
            return notices.compose("halted", model, said, root=home, run=kind, page=page)
        return notices.of_failure(model, said, root=home, run=kind, page=page)
    if state.name != "Promoted":
        return None
    found = notices.of_last_move(home, model, page=page)
    # A run that only confirms an earlier promotion ends so too, and says another thing.
    return found if found.kind == "promoted" and said.startswith(found.subject.partition(": ")[2]) else None


def send(home: Path, notice: Notice) -> None:
    emit_event(**notices.event_of(notice, place.pool_of(home)))
