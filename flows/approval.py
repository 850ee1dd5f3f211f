"""A run asks a person and frees the machine: it suspends with a form, and begins again when that is filled in.

About a gate that is shut, or about a promotion that the policy asks about (policy.ask_before). The stages that ran are
clean by then, so that resuming costs seconds. What the form says and what `finetide approve` says end in the same two
places: a file in approvals/ and an entry in the ledger.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Literal

from finetide_flows import notices
from finetide_flows.names import WAITING_EVENT
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.events import emit_event
from prefect.exceptions import Pause
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelled
from prefect.utilities.urls import url_for
from pydantic import Field

from finetide.contracts.gate import approval_name
from finetide.contracts.operate import Waiting
from finetide.lifecycle import waiting
from finetide.lifecycle.conclude import decide
from finetide.operate.notices import compose
from finetide.registry.approvals import approvals_folder

# A heartbeat on its way when the run suspends would set the alarm for silent runs again; the event after it ends it.
SETTLE_SECONDS = 1.5


class Decision(RunInput):
    """All fields are required: Prefect resumes a form of defaults without asking."""

    decision: Literal["approve", "reject"] = Field(description="let exactly this pass, or keep it out")
    who: str = Field(min_length=1, description="your name, for the ledger")
    why: str = Field(min_length=1, description="the reason, for the ledger")


def can_ask() -> bool:
    """Only a run that a worker started can be resumed by one."""
    run = _run()
    return run is not None and run.deployment_id is not None


def is_resumed(home: Path, model: str) -> bool:
    """Whether this run suspended before, and its question is the one that stands."""
    found, run = waiting.read(home, model), _run()
    return found is not None and run is not None and found.flow_run == str(run.id)


def asked_before(home: Path, project: Path, model: str) -> bool:
    """Whether another run waits with this very question. One that waits with an older question is cancelled."""
    found, run = waiting.read(home, model), _run()
    if found is None or run is None or found.flow_run == str(run.id):
        return False
    with get_client(sync_client=True) as client:
        other = _paused(client, found)
        if other is None:
            return False
        if found.verdict_hash == waiting.verdict_of(project, model):
            return True
        _cancel(client, other, "newer data came; the question is asked anew")
    return False


def withdraw(home: Path, model: str, *about: str) -> None:
    """What was asked is answered, or is no question any more: forget it, and end another run that waits with it.

    Args: about: which questions, of ``gate`` and ``promotion``.
    """
    found, run = waiting.read(home, model), _run()
    if found is None or found.about not in about:
        return
    if run is not None and found.flow_run != str(run.id):
        with get_client(sync_client=True) as client:
            if other := _paused(client, found):
                _cancel(client, other, "another run went on: the question is answered, or newer data came")
    waiting.clear(home, model)


def ask(home: Path, project: Path, model: str, shown: str, reason: str, hours: float) -> None:
    """Suspend until the form is filled in, and record what it says. The call that suspends does not return.

    Args: shown: Markdown above the form.
    """
    run = _run()
    question = waiting.standing(project, model)
    assert run is not None
    assert question is not None
    found, api = question.verdict_hash, str(PREFECT_API_URL.value())
    waiting.write(
        home,
        Waiting(model=model, about=question.about, verdict_hash=found, reason=reason, flow_run=str(run.id), api=api),
    )
    try:
        answer = suspend_flow_run(
            wait_for_input=Decision.with_initial_data(description=shown),
            timeout=int(hours * 3600),
            key=f"{question.about}-{found[:12]}",
        )
    except Pause:
        time.sleep(SETTLE_SECONDS)
        emit_event(WAITING_EVENT, resource={"prefect.resource.id": f"prefect.flow-run.{run.id}"})
        said, page = f"{reason}\nunanswered, the run ends after {hours:g} hours", url_for("flow-run", run.id)
        notices.send(home, compose("approval-wanted", model, said, root=home, page=page, cause=found))
        raise
    settle(project, model, found, answer)
    waiting.clear(home, model)


def settle(project: Path, model: str, verdict: str, answer: Decision) -> None:
    """Record the decision unless `finetide approve` or `reject` did so before it resumed the run."""
    word: Literal["approved", "rejected"] = "approved" if answer.decision == "approve" else "rejected"
    if not (approvals_folder(project, model) / approval_name(verdict, word)).exists():
        decide(project, model, word, answer.why, answer.who)


def _paused(client: Any, found: Waiting) -> Any:
    """The run that asked, if it waits still."""
    try:
        other = client.read_flow_run(found.flow_run)
    except Exception:  # of another server, or deleted
        return None
    return other if other.state is not None and other.state.is_paused() else None


def _cancel(client: Any, other: Any, why: str) -> None:
    state: Any = Cancelled(message=why)
    client.set_flow_run_state(other.id, state, force=True)


def _run() -> Any:
    context = FlowRunContext.get()
    return context.flow_run if context else None
