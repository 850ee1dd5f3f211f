"""What the server does by itself: a shift event starts a retraining; a run that fell silent is marked as crashed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from finetide_flows.names import SHIFT_EVENT, WAITING_EVENT, resource, suffix
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

from finetide.config.schedule import ScheduleParams
from finetide.operate.environment import HEARTBEAT_SECONDS

ENDED = ("Completed", "Failed", "Cancelled", "Crashed", "Suspended", "Paused")


def shift_name(model: str, pool: str) -> str:
    return f"finetide{suffix(pool)}: shift of {model} starts a retraining"


def silence_name(pool: str) -> str:
    return f"finetide{suffix(pool)}: a run without heartbeat has crashed"


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


def replace(client: SyncPrefectClient, wanted: AutomationCore) -> None:
    """Make it, or bring the one of that name up to date: to create twice would make two."""
    there: list[Any] = client.read_automations_by_name(wanted.name)
    for one in there[1:]:
        client.delete_automation(one.id)
    if there:
        client.update_automation(there[0].id, wanted)
    else:
        client.create_automation(wanted)
