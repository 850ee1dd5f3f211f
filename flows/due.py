"""Is this run still due? Runs that were missed are made up for as params.yaml declares (schedule.*.missed)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterStartTime,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.context import FlowRunContext

from finetide.config.schedule import ScheduleParams

Begun = Callable[[], datetime | None]
# A run that ended so did not do the work of those that were due before it.
IDLE = ("Skipped", "Busy")


def superseded(missed: str, due: datetime, now: datetime, late_after: timedelta, begun: Begun) -> str | None:
    """Why a run does not do its work; None when it does.

    Of several that were missed the first to begin does the work of all: it sees what they would see. (Were it the one
    that was due last, a machine that is behind for longer than a period would never come to run any.)

    Args:
        missed: ``all``, ``latest-only`` or ``skip``.
        due, now: with time zone; when the run was due, and when it begins.
        begun: when the newest other run began that began after this one was due, and is at work or did its work;
            None without one.
    """
    if missed == "skip" and now - due > late_after:
        minutes = (now - due).total_seconds() / 60
        return f"was due {due:%Y-%m-%d %H:%M} UTC, {minutes:.0f} minutes ago; missed runs are skipped"
    if missed == "latest-only" and (other := begun()) is not None:
        return f"was due {due:%Y-%m-%d %H:%M} UTC; the one that began {other:%Y-%m-%d %H:%M} UTC did its work"
    return None


def reason_to_skip(kind: str, schedule: ScheduleParams) -> str | None:
    """`superseded` for the run that calls it; only runs that a schedule made can be missed."""
    context = FlowRunContext.get()
    run: Any = context.flow_run if context else None
    if run is None or not run.auto_scheduled or run.deployment_id is None or run.expected_start_time is None:
        return None
    due, now = run.expected_start_time.astimezone(UTC), datetime.now(UTC)
    late_after = timedelta(minutes=schedule.late_after_minutes)
    return superseded(getattr(schedule, kind).missed, due, now, late_after, lambda: _begun(run, due))


def _begun(run: Any, due: datetime) -> datetime | None:
    at_work = [StateType.RUNNING, StateType.PAUSED, StateType.COMPLETED]
    with get_client(sync_client=True) as client:
        found = client.read_flow_runs(
            deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[run.deployment_id])),
            flow_run_filter=FlowRunFilter(
                state=FlowRunFilterState(
                    type=FlowRunFilterStateType(any_=at_work), name=FlowRunFilterStateName(not_any_=list(IDLE))
                ),
                start_time=FlowRunFilterStartTime(after_=due),
            ),
        )
    times = [one.start_time.astimezone(UTC) for one in found if one.id != run.id and one.start_time]
    return max((time for time in times if time > due), default=None)
