"""The monitoring flow: takes in new files, validates them and tests for shift, and trains nothing.

What is worth a retraining becomes an event, ``finetide.shift.detected``; an automation starts `retrain` on it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from finetide_flows.environment import configure

from finetide.cli.shared import find_project
from finetide.errors import BusyError, FinetideError

configure(find_project())  # before Prefect is imported: it reads its settings once

from finetide_flows import artifacts, notices, place  # noqa: E402
from finetide_flows.due import reason_to_skip  # noqa: E402
from finetide_flows.names import SHIFT_EVENT  # noqa: E402
from finetide_flows.retrain import advance_window, submit_stages  # noqa: E402
from prefect import flow, get_run_logger  # noqa: E402
from prefect.client.schemas.objects import State  # noqa: E402
from prefect.events import emit_event  # noqa: E402
from prefect.futures import PrefectFuture  # noqa: E402
from prefect.states import Completed, Failed  # noqa: E402
from prefect.task_runners import ThreadPoolTaskRunner  # noqa: E402

from finetide.config.params import model_params  # noqa: E402
from finetide.lifecycle.monitor import Finding, finding  # noqa: E402
from finetide.lifecycle.run import graph_of  # noqa: E402
from finetide.operate.notices import resource  # noqa: E402
from finetide.pipeline.graph import ancestors, order  # noqa: E402
from finetide.pipeline.run import dirty  # noqa: E402

SAID = {"wanted": "retraining wanted", "waiting": "waits for a person"}


@flow(
    name="monitor",
    flow_run_name="{model}: looking ({reason})",
    task_runner=ThreadPoolTaskRunner(max_workers=1),  # type: ignore[arg-type]
    persist_result=False,
    on_failure=[notices.tell],
)
def monitor(model: str, project: str | None = None, reason: str = "by hand", isolated: bool = False) -> State[Any]:
    """Look at new data of one model.

    Args:
        model: a model of params.yaml.
        project: the project's folder; without it, the one around the working folder.
        reason: why it runs, for the run's name.
        isolated: work in the model's worktree and take in what lies in the drop folder.
    """
    home = find_project(Path(project) if project else None)
    if why := reason_to_skip("monitor", model_params(home, model).schedule):
        place.rename(f"{model}: skipped", "skipped")
        return Completed(name="Skipped", message=why)
    try:
        with place.workplace(home, model, "monitor", isolated=isolated) as root:
            refused = place.take_in(str(home), str(root), model) if isolated else []
            found = look(root, model, home)
    except BusyError as error:
        place.rename(f"{model}: busy", "busy")
        return Completed(name="Busy", message=error.what)
    except FinetideError as error:
        place.rename(f"{model}: failed", "failed")
        return Failed(name="Failed", message=str(error))
    return _end(home, model, found, refused)


def look(root: Path, model: str, home: Path) -> Finding:
    """Run what is stale of the stages before the gate. Raises: what a stage raised."""
    for line in advance_window(str(root), model):
        get_run_logger().info("%s", line)
    graph = graph_of(root, model)
    before_gate = [name for name in order(graph) if name in ancestors(graph, f"gate@{model}") - {f"gate@{model}"}]
    futures: dict[str, PrefectFuture[Any]] = {}
    # Looks come often: one that finds nothing new leaves no second copy of every table.
    submit_stages(root, graph, before_gate, dirty(root, before_gate), futures, show_all=False)
    if any(futures[name].result()["touched"] for name in before_gate):
        artifacts.after_look(root, model)
    return finding(root, model, home)


def _end(home: Path, model: str, found: Finding, refused: list[str]) -> State[Any]:
    said = "; ".join([found.reason, *(f"refused: {line}" for line in refused)])
    place.rename(
        f"{model}: {SAID.get(found.outcome, found.outcome)}, shift {found.verdict}",
        found.outcome,
        f"shift {found.verdict}",
    )
    if found.outcome == "wanted":
        emit_event(
            SHIFT_EVENT,
            resource={"prefect.resource.id": resource(model, place.pool_of(home)), "prefect.resource.name": model},
            payload={"model": model, "verdict": found.verdict, "reason": found.reason},
        )
    if found.outcome == "halted" or refused:
        return Failed(name="Halted" if found.outcome == "halted" else "Refused", message=said)
    return Completed(name=found.outcome.title(), message=said)
