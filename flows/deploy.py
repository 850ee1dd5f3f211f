"""Hands the schedules of params.yaml to a Prefect server: work pool, deployments, automations. `finetide up` calls it.

    python -m finetide_flows.deploy PROJECT POOL

One deployment a model and kind of run. Made by the client and not by a prefect.yaml, so that a schedule stands in one
place (docs/adr/0009). Done twice, it changes nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from finetide_flows.environment import configure

from finetide.cli.shared import find_project

configure(find_project())  # before Prefect is imported: it reads its settings once

from finetide_flows import automations, monitor, retrain  # noqa: E402
from finetide_flows.names import KINDS, deployment_name, slots_name  # noqa: E402
from prefect.client.orchestration import SyncPrefectClient, get_client  # noqa: E402
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate  # noqa: E402
from prefect.client.schemas.filters import WorkPoolFilter, WorkPoolFilterName  # noqa: E402
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions  # noqa: E402
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule  # noqa: E402
from prefect.exceptions import ObjectAlreadyExists  # noqa: E402
from prefect.utilities.callables import parameter_schema  # noqa: E402
from prefect.workers.process import ProcessWorker  # noqa: E402

from finetide.config.load import model_names  # noqa: E402
from finetide.config.params import model_params  # noqa: E402
from finetide.config.schedule import ScheduleParams, TimesParams, bucket_of  # noqa: E402

FLOWS: dict[str, Any] = {"retrain": retrain.retrain, "monitor": monitor.monitor}
SAID = {
    "retrain": "Take in new files of {}, retrain if it is worth it, promote what the judge lets pass",
    "monitor": "Take in new files of {}, validate them, test for shift; an event when a retraining is worth it",
}


def schedule_of(times: TimesParams, timezone: str) -> list[DeploymentScheduleCreate]:
    """None where the deployment is started by hand or by an event only."""
    found: CronSchedule | IntervalSchedule | RRuleSchedule
    if times.cron is not None:
        found = CronSchedule(cron=times.cron, timezone=timezone)
    elif times.every_minutes is not None:
        found = IntervalSchedule(interval=timedelta(minutes=times.every_minutes), timezone=timezone)
    elif times.rrule is not None:
        found = RRuleSchedule(rrule=times.rrule, timezone=timezone)
    else:
        return []
    return [DeploymentScheduleCreate(schedule=found, active=True)]


def collision(times: TimesParams) -> ConcurrencyLimitStrategy:
    """What becomes of a run that is due while the one before is at work. Of those that wait, `latest-only` lets one do
    the work of all; the run itself sees to that (flows/due.py), because Prefect knows no such rule."""
    return ConcurrencyLimitStrategy.CANCEL_NEW if times.missed == "skip" else ConcurrencyLimitStrategy.ENQUEUE


def deploy(client: SyncPrefectClient, root: Path, pool: str) -> Iterator[str]:
    """Yields a line for each deployment."""
    template = ProcessWorker.get_default_base_job_template()
    with suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name=pool, type="process", base_job_template=template))
    client.upsert_global_concurrency_limit_by_name(slots_name(pool), 1)
    wanted, told, about_worker = set(), [automations.on_silence(pool)], set()
    models = model_names(root)
    for model in models:
        schedule = model_params(root, model).schedule
        if bucket_of(schedule.drop) is None:
            (root / schedule.drop).mkdir(parents=True, exist_ok=True)
        made = {kind: _deployment(client, root, pool, model, kind, schedule) for kind in KINDS}
        wanted |= set(made.values())
        blocks = {name: _block(client, name) for name in schedule.notify.blocks}
        told += [automations.on_shift(model, pool, schedule, made["retrain"])]
        told += automations.on_notices(root, model, pool, schedule.notify, blocks, made)
        about_worker |= set(blocks.values()) if "worker-gone" in schedule.notify.about else set()
        for kind in KINDS:
            yield f"{deployment_name(kind, model, pool)}: {getattr(schedule, kind).said(schedule.timezone)}"
    told.append(automations.on_pending(pool, sorted(wanted)))
    if about_worker:
        told.append(automations.on_worker_gone(root, pool, sorted(about_worker)))
    for one in told:
        automations.replace(client, one)
    gone = _remove_deployments(client, pool, wanted)
    known = {automations.worker_name(pool)}.union(*(automations.names_of(model, pool) for model in {*models, *gone}))
    for name in sorted(known - {one.name for one in told}):
        automations.remove(client, name)


def _remove_deployments(client: SyncPrefectClient, pool: str, wanted: set[Any]) -> set[str]:
    """Of models that params.yaml names no more; returns these models."""
    gone: set[str] = set()
    for one in client.read_deployments(work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool]))):
        if one.id not in wanted and "finetide" in one.tags:
            client.delete_deployment(one.id)
            gone.update(tag for tag in one.tags if tag != "finetide")
    return gone


def _block(client: SyncPrefectClient, name: str) -> Any:
    kind, _, own = name.partition("/")
    return client.read_block_document_by_name(own, kind, include_secrets=False).id


def _deployment(
    client: SyncPrefectClient, root: Path, pool: str, model: str, kind: str, schedule: ScheduleParams
) -> Any:
    times: TimesParams = getattr(schedule, kind)
    flow = FLOWS[kind]
    return client.create_deployment(
        flow_id=client.create_flow(flow),
        name=deployment_name(kind, model, pool),
        schedules=schedule_of(times, schedule.timezone),
        concurrency_limit=1,
        concurrency_options=ConcurrencyOptions(collision_strategy=collision(times)),
        parameters={"model": model, "project": str(root), "reason": "schedule", "isolated": True},
        description=SAID[kind].format(model),
        work_pool_name=pool,
        tags=["finetide", model],
        path=str(root),
        entrypoint=f"finetide_flows.{kind}.{kind}",
        parameter_openapi_schema=parameter_schema(flow).model_dump_for_openapi(),
        pull_steps=[{"prefect.deployments.steps.set_working_directory": {"directory": str(root)}}],
        # A killed worker must not take its runs along at their next printed line.
        job_variables={"stream_output": False},
    )


if __name__ == "__main__":
    with get_client(sync_client=True) as client:
        for line in deploy(client, Path(sys.argv[1]), sys.argv[2]):
            print(line)
