"""Where a run works, what it is called, and what it says when it ends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from finetide_flows.dashboard import publish
from prefect import get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext

from finetide.errors import BusyError
from finetide.lifecycle import drop, isolate
from finetide.operate import up
from finetide.pipeline.dvc import run_lock

# A retraining waits for a look at the data that is at work; a look waits for nobody, the next one comes soon.
PATIENCE_SECONDS = {"retrain": 3600.0, "monitor": 0.0}
LOOK_AGAIN_SECONDS = 5.0
# True of a run for a while only.
PASSING = {"waiting"}


@contextmanager
def workplace(home: Path, model: str, kind: str, *, isolated: bool) -> Iterator[Path]:
    """The folder that this run has for itself: a worktree of the model, or the checkout.

    Raises: BusyError when another run is at work there and stays so.
    """
    logger: Any = get_run_logger()
    project = isolate.make(home, model) if isolated else home
    end = time.monotonic() + (PATIENCE_SECONDS[kind] if isolated else 0.0)
    with ExitStack() as stack:
        while True:
            try:
                repaired = stack.enter_context(run_lock(project))
                break
            except BusyError:
                if time.monotonic() > end:
                    raise
                time.sleep(LOOK_AGAIN_SECONDS)
        lines = [*repaired, *(isolate.follow(home, project, model) if isolated else [])]
        for line in lines:
            logger.info("%s", line)
        yield project


@task(name="new files", cache_policy=NO_CACHE, persist_result=False)
def take_in(home: str, project: str, model: str) -> list[str]:
    """Enter what lies whole in the drop folder; a table of what became of each file."""
    seen = drop.pick_up(Path(home), Path(project), model)
    lines = [f"{one.name}: {one.outcome}: {one.why}" for one in seen]
    for one, line in zip(seen, lines, strict=True):
        say = get_run_logger().warning if one.outcome == "refused" else get_run_logger().info
        say("%s", line)
    if seen:
        rows = [{"file": one.name, "outcome": one.outcome, "why": one.why, "bytes": one.size} for one in seen]
        publish(create_table_artifact, rows, key=f"{model}-files", description=f"New files of {model}")
    return [line for one, line in zip(seen, lines, strict=True) if one.outcome == "refused"]


def rename(name: str, *tags: str) -> None:
    """Call this flow run ``name`` on the dashboard from now on, and add tags. A server that is away changes nothing."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return
    try:
        with get_client(sync_client=True) as client:
            before = client.read_flow_run(context.flow_run.id).tags
            client.update_flow_run(
                context.flow_run.id, name=name, tags=sorted({*before, *tags} - (PASSING - set(tags)))
            )
    except Exception as error:
        get_run_logger().warning("the dashboard does not show how this run ended: %s", error)


def pool_of(home: Path) -> str:
    """The work pool that `finetide up` made; without it the usual one."""
    running = up.read(home)
    return running.pool if running else up.POOL
