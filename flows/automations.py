"""What the server does by itself: a shift event starts a retraining; a run that fell silent is marked as crashed;
notices go to the blocks that params.yaml names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from finetide_flows.names import SHIFT_EVENT, WAITING_EVENT
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, RunDeployment, SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.utilities.urls import url_for

from finetide.config.schedule import Kind, NotifyParams, ScheduleParams
from finetide.operate import notices
from finetide.operate.environment import HEARTBEAT_SECONDS
from finetide.operate.notices import resource, suffix

# After Prefect says that no worker is there, which takes it 90 s: `finetide up` after a reboot is no fault, and neither
# is a machine too busy to send a sign of life in time.
WORKER_GRACE = timedelta(seconds=180)
# Ends that no code of ours sees, because the run's process is not there yet, or no more.
UNSEEN_ENDS = ["The flow was paused and never resumed.", "Flow could not be retrieved*"]
# Stands for the run in an address that the server completes: its own template filter for addresses yields nothing
# unless PREFECT_UI_URL is set.
SOME = UUID(int=0)
ENDED = ("Completed", "Failed", "Cancelled", "Crashed", "Suspended", "Paused")
BEGUN = ("Running", "AwaitingConcurrencySlot", "Cancelling", *ENDED)
# What a process needs to import everything on a machine that is busy training.
PENDING_PATIENCE = timedelta(seconds=100)


def shift_name(model: str, pool: str) -> str:
    return f"finetide{suffix(pool)}: shift of {model} starts a retraining"


def silence_name(pool: str) -> str:
    return f"finetide{suffix(pool)}: a run without heartbeat has crashed"


def pending_name(pool: str) -> str:
    return f"finetide{suffix(pool)}: a run that no process took up has crashed"


def notices_name(model: str, pool: str) -> str:
    return f"finetide{suffix(pool)}: notices of {model}"


def unseen_name(model: str, pool: str) -> str:
    return f"finetide{suffix(pool)}: notices of {model}: a run failed outside our code"


def crash_name(model: str, pool: str) -> str:
    return f"finetide{suffix(pool)}: notices of {model}: a run crashed"


def worker_name(pool: str) -> str:
    return f"finetide{suffix(pool)}: notices: no worker"


def names_of(model: str, pool: str) -> set[str]:
    """Of all automations that a model may have."""
    return {name(model, pool) for name in (shift_name, notices_name, unseen_name, crash_name)}


def on_shift(model: str, pool: str, schedule: ScheduleParams, deployment: UUID) -> AutomationCore:
    """The first event starts a run; those within the cool-down start none, and the next one after it does."""
    return AutomationCore(
        name=shift_name(model, pool),
        description=f"monitor found a shift of {model} that is worth a retraining",
        tags=["finetide", model],
        trigger=EventTrigger(
            posture=Posture.Reactive,
            expect={SHIFT_EVENT},
            match=ResourceSpecification({"prefect.resource.id": resource(model, pool)}),
            for_each={"prefect.resource.id"},
            threshold=1,
            within=timedelta(minutes=schedule.cool_down_minutes),
        ),
        actions=[
            RunDeployment(
                source="selected", deployment_id=deployment, parameters={"reason": "shift {{ event.payload.verdict }}"}
            )
        ],
    )


def on_silence(pool: str) -> AutomationCore:
    """A killed worker or host tells nobody; without this its run would be called running for ever."""
    return AutomationCore(
        name=silence_name(pool),
        description="no heartbeat for three times its period: the process is gone",
        tags=["finetide"],
        trigger=EventTrigger(
            posture=Posture.Proactive,
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.heartbeat", WAITING_EVENT, *(f"prefect.flow-run.{word}" for word in ENDED)},
            match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
            for_each={"prefect.resource.id"},
            threshold=1,
            within=timedelta(seconds=3 * HEARTBEAT_SECONDS),
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message=f"no heartbeat for {3 * HEARTBEAT_SECONDS} s")],
    )


def on_pending(pool: str, deployments: Iterable[UUID]) -> AutomationCore:
    """A worker that is killed between taking a run and starting its process leaves it so for ever, and its deployment
    has one place. A process that was only late goes on: a crashed run may become a running one.

    Args: deployments: ours; other people's machines may take minutes to start a run.
    """
    ours: Any = {"prefect.resource.id": [f"prefect.deployment.{one}" for one in deployments]}
    return AutomationCore(
        name=pending_name(pool),
        description="taken by a worker, and no process began it: the worker is gone",
        tags=["finetide"],
        trigger=EventTrigger(
            posture=Posture.Proactive,
            after={"prefect.flow-run.Pending"},
            expect={"prefect.flow-run.heartbeat", *(f"prefect.flow-run.{word}" for word in BEGUN)},
            match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
            match_related=ResourceSpecification(ours),
            for_each={"prefect.resource.id"},
            threshold=1,
            within=PENDING_PATIENCE,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED, message=f"no process began it within {PENDING_PATIENCE.seconds} s"
            )
        ],
    )


def on_notices(
    root: Path, model: str, pool: str, notify: NotifyParams, blocks: Mapping[str, UUID], deployments: Mapping[str, UUID]
) -> Iterator[AutomationCore]:
    """What tells people of one model; nothing without a block.

    Args: blocks: their ids, by TYPE/NAME. deployments: their ids, by kind of run.
    """
    to = [blocks[name] for name in notify.blocks]
    again = timedelta(minutes=notify.again_minutes)
    own = {notices.event_name(kind) for kind in notify.about if kind not in ("crashed", "worker-gone")}
    if to and own:
        yield _telling(
            notices_name(model, pool),
            EventTrigger(
                posture=Posture.Reactive,
                expect=own,
                match=ResourceSpecification({"prefect.resource.id": resource(model, pool)}),
                for_each={"finetide.cause"},
                threshold=1,
                within=again,
            ),
            "{{ event.payload.subject }}",
            "{{ event.payload.body }}",
            to,
        )
    why = "{{ event.resource['prefect.state-message'] }}"
    page = url_for("flow-run", SOME)
    page = page and page.replace(str(SOME), "{{ flow_run.id }}")
    ours: Any = {"prefect.resource.id": [f"prefect.deployment.{one}" for one in deployments.values()]}
    ends: tuple[tuple[Kind, Callable[[str, str], str], str], ...] = (
        ("failed", unseen_name, "Failed"),
        ("crashed", crash_name, "Crashed"),
    )
    for kind, name, end in ends:
        if not to or kind not in notify.about:
            continue
        run: Any = {"prefect.resource.id": "prefect.flow-run.*"}
        if kind == "failed":
            run["prefect.state-message"] = UNSEEN_ENDS
        said = notices.compose(kind, model, why, root=root, run="a run", page=page)
        trigger = EventTrigger(
            posture=Posture.Reactive,
            expect={f"prefect.flow-run.{end}"},
            match=ResourceSpecification(run),
            match_related=ResourceSpecification(ours),
            for_each={"related:deployment:prefect.resource.id"},
            threshold=1,
            within=again,
        )
        yield _telling(name(model, pool), trigger, said.subject, said.body, to)


def on_worker_gone(root: Path, pool: str, to: list[UUID]) -> AutomationCore:
    """Args: to: the blocks of all models that want to know."""
    said = notices.compose("worker-gone", "", "worker {{ event.resource.name }} has not been heard of", root=root)
    trigger = EventTrigger(
        posture=Posture.Proactive,
        after={"prefect.work-pool.not-ready"},
        expect={"prefect.work-pool.ready"},
        match=ResourceSpecification({"prefect.resource.id": "prefect.work-pool.*", "prefect.resource.name": pool}),
        for_each={"prefect.resource.id"},
        threshold=1,
        within=WORKER_GRACE,
    )
    return _telling(worker_name(pool), trigger, said.subject, said.body, to)


def _telling(name: str, trigger: EventTrigger, subject: str, body: str, to: list[UUID]) -> AutomationCore:
    return AutomationCore(
        name=name,
        description="docs/on-call.md says what each notice means and what to do",
        tags=["finetide"],
        trigger=trigger,
        actions=[SendNotification(block_document_id=one, subject=subject, body=body) for one in to],
    )


def remove(client: SyncPrefectClient, name: str) -> None:
    for one in client.read_automations_by_name(name):
        client.delete_automation(one.id)


def replace(client: SyncPrefectClient, wanted: AutomationCore) -> None:
    """Make it, or bring the one of that name up to date: to create twice would make two."""
    there: list[Any] = client.read_automations_by_name(wanted.name)
    for one in there[1:]:
        client.delete_automation(one.id)
    if there:
        client.update_automation(there[0].id, wanted)
    else:
        client.create_automation(wanted)
