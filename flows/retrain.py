"""The retraining flow: dvc.yaml compiled to Prefect tasks at run time, then promotion.

Each task runs one stage with DVC in a subprocess and hands on small JSON. Order, skipping and lineage are DVC's;
Prefect gives retries, a view and a schedule. Take this folder away, and `finetide run` or `dvc repro` give the same
bytes.

    python flows/retrain.py                 all models, on a temporary Prefect server
    PREFECT_API_URL=… python flows/retrain.py tickets
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from finetide_flows.environment import configure

from finetide.cli.shared import choose_models, find_project
from finetide.errors import BusyError, FinetideError, ToolError

configure(find_project())  # before Prefect is imported: it reads its settings once

from finetide_flows import artifacts  # noqa: E402
from prefect import flow, get_run_logger, task  # noqa: E402
from prefect.cache_policies import NO_CACHE  # noqa: E402
from prefect.client.schemas.objects import State  # noqa: E402
from prefect.futures import PrefectFuture  # noqa: E402
from prefect.states import Completed, Failed  # noqa: E402
from prefect.task_runners import ThreadPoolTaskRunner  # noqa: E402

from finetide.lifecycle.conclude import EXIT_CODES, Conclusion, conclude  # noqa: E402
from finetide.lifecycle.prepare import prepare, repin  # noqa: E402
from finetide.lifecycle.run import closing_lines, graph_of, nothing_to_do, training_needed  # noqa: E402
from finetide.pipeline.dvc import run_lock  # noqa: E402
from finetide.pipeline.graph import Graph, ancestors, order  # noqa: E402
from finetide.pipeline.run import StageRun, raise_failure, run_stage, worth_saying  # noqa: E402
from finetide.registry import ledger  # noqa: E402

RETRIES = 2
RETRY_DELAY_SECONDS = 10
BUSY = "Busy"


def can_retry(_task: Any, _run: Any, state: State[Any]) -> bool:
    """Trying again helps against a busy workspace and a tool that fell over, never against a gate or bad input."""
    try:
        state.result()
    except FinetideError as error:
        return error.exit_code in (BusyError.exit_code, ToolError.exit_code)
    except Exception:
        return False
    return False


@task(cache_policy=NO_CACHE, persist_result=False, retries=RETRIES, retry_delay_seconds=RETRY_DELAY_SECONDS,
      retry_condition_fn=can_retry)  # fmt: skip
def stage(root: str, address: str, stale: bool, upstream: list[dict[str, Any]]) -> dict[str, Any]:
    """Run one stage unless it is clean and nothing before it ran; raise the stage's own error when it fails."""
    logger = get_run_logger()
    if not stale and not any(before["touched"] for before in upstream):
        run = StageRun(address, "cached", 0.0, 0, "")
    else:
        run = run_stage(
            Path(root), address, on_line=lambda line: logger.info("%s", line) if worth_saying(line) else None
        )
    if run.state == "failed":
        raise_failure(run)
    name, model = address.split("@")
    artifacts.after_stage(Path(root), model, name)
    return {"stage": address, "state": run.state, "seconds": run.seconds, "touched": run.touched}


@task(name="advance", cache_policy=NO_CACHE, persist_result=False)
def advance_window(root: str, model: str) -> list[str]:
    """Take in what is new; one line for each thing that changed."""
    return prepare(Path(root), model)


@task(name="policy", cache_policy=NO_CACHE, persist_result=False)
def policy(root: str, model: str) -> dict[str, Any]:
    """Between gate and train: is a retraining worth it?"""
    needed, reason = training_needed(Path(root), model)
    return {"train": needed, "reason": reason}


@task(name="promotion", cache_policy=NO_CACHE, persist_result=False)
def promotion(root: str, model: str) -> dict[str, Any]:
    """Ledger, then alias; or the rejection."""
    found = conclude(Path(root), model)
    return {"outcome": found.outcome, "reason": found.reason}


def submit_stages(
    root: Path, graph: Graph, only: list[str], stale: set[str], futures: dict[str, PrefectFuture[Any]]
) -> None:
    """One task a stage in ``only``, each waiting for exactly the stages that dvc.yaml puts before it."""
    for address in (name for name in order(graph) if name in only):
        before = [futures[name] for name in graph[address]]
        named: Any = stage.with_options(name=address.split("@")[0], task_run_name=address)
        # Prefect turns the futures in `before` into the results that the task sees, and into the edges of the graph.
        futures[address] = named.submit(str(root), address, address in stale, before, wait_for=before)
    for name in only:
        futures[name].wait()


@flow(
    name="retrain",
    flow_run_name="{model}",
    task_runner=ThreadPoolTaskRunner(max_workers=1),  # type: ignore[arg-type]
    persist_result=False,
)
def retrain(model: str, project: str | None = None) -> State[Any]:
    """Retrain one model of the project and put the result in service if it is better.

    Args:
        model: a model of params.yaml.
        project: the project's folder; without it, the one around the working folder.
    """
    root = find_project(Path(project) if project else None)
    try:
        with run_lock(root) as repaired:
            for line in repaired:
                get_run_logger().info("%s", line)
            return _retrain(root, model)
    except BusyError as error:
        return Failed(name=BUSY, message=str(error))


def _retrain(root: Path, model: str) -> State[Any]:
    for line in advance_window(str(root), model):
        get_run_logger().info("%s", line)
    graph = graph_of(root, model)
    lines, stale = repin(root, model, graph)
    for line in lines:
        get_run_logger().info("%s", line)
    gate = f"gate@{model}"
    before_gate = [name for name in order(graph) if name in ancestors(graph, gate)]
    after_gate = [name for name in order(graph) if name not in before_gate]
    futures: dict[str, PrefectFuture[Any]] = {}
    submit_stages(root, graph, before_gate, stale, futures)
    if failure := _failure(root, model, before_gate, futures):
        return failure
    decision = policy(str(root), model)
    if decision["train"]:
        submit_stages(root, graph, after_gate, stale, futures)
        if failure := _failure(root, model, after_gate, futures):
            return failure
    found = promotion(str(root), model)
    artifacts.after_run(root, model, f"{found['outcome']}: {found['reason']}")
    return Completed(name=found["outcome"].title().replace("-", ""), message=found["reason"], data=found)


def _failure(root: Path, model: str, names: list[str], futures: dict[str, PrefectFuture[Any]]) -> State[Any] | None:
    for name in names:
        state = futures[name].state
        if state.is_failed() or state.is_crashed():
            found = conclude(root, model)
            message = f"{name}: {state.message}"
            artifacts.after_run(root, model, f"{found.outcome}: {message}")
            return Failed(name="Halted" if found.outcome == "halted" else "Failed", message=message)
    return None


def run_one(root: Path, model: str) -> int:
    """Run the flow for one model and print how it ended; returns the exit code."""
    with run_lock(root) as repaired:
        for line in repaired:
            print(line)
        quiet = nothing_to_do(root, model)
    if quiet:
        for line in closing_lines(root, model, quiet):
            print(line)
        return 0
    before = len(ledger.read(root, model))
    ended: State[Any] = retrain(model, str(root), return_state=True)
    if ended.name == BUSY:
        print(f"error: {ended.message}", file=sys.stderr)
        return BusyError.exit_code
    found: Conclusion = conclude(root, model)
    if len(ledger.read(root, model)) > before:  # the flow concluded; asked again, the answer is "nothing new"
        found = replace(found, new=True, exit_code=EXIT_CODES.get(found.outcome, 0))
    for line in closing_lines(root, model, found):
        print(line)
    return found.exit_code


def main(arguments: list[str]) -> int:
    root = find_project()
    models = arguments or choose_models(root, None)
    return max(run_one(root, name) for model in models for name in choose_models(root, model))


if __name__ == "__main__":
    try:
        code = main(sys.argv[1:])
    except FinetideError as error:
        print(f"error: {error}", file=sys.stderr)
        code = error.exit_code
    sys.exit(code)
