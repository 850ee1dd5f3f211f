"""The retraining flow: dvc.yaml compiled to Prefect tasks at run time, then promotion.

Each task runs one stage with DVC in a subprocess and hands on small JSON. Order, skipping and lineage are DVC's;
Prefect gives retries, a view and a schedule. Take this folder away, and `finetide run` or `dvc repro` give the same
bytes.

    python flows/retrain.py                 all models, on a temporary Prefect server
    PREFECT_API_URL=… python flows/retrain.py tickets
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from finetide_flows.environment import configure

from finetide.cli.shared import choose_models, find_project
from finetide.errors import BusyError, FinetideError, ToolError

configure(find_project())  # before Prefect is imported: it reads its settings once

import httpx  # noqa: E402
from finetide_flows import approval, artifacts, leases, notices, place  # noqa: E402
from finetide_flows.due import reason_to_skip  # noqa: E402
from finetide_flows.names import slots_name  # noqa: E402
from finetide_flows.progress import Bars  # noqa: E402
from prefect import flow, get_run_logger, task  # noqa: E402
from prefect.cache_policies import NO_CACHE  # noqa: E402
from prefect.client.schemas.objects import State  # noqa: E402
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError  # noqa: E402
from prefect.concurrency.sync import concurrency  # noqa: E402
from prefect.futures import PrefectFuture  # noqa: E402
from prefect.states import Completed, Failed  # noqa: E402
from prefect.task_runners import ThreadPoolTaskRunner  # noqa: E402

from finetide.config.params import model_params  # noqa: E402
from finetide.lifecycle import outputs, waiting  # noqa: E402
from finetide.lifecycle.conclude import Conclusion, conclude  # noqa: E402
from finetide.lifecycle.prepare import prepare, repin  # noqa: E402
from finetide.lifecycle.run import closing_lines, graph_of, nothing_to_do, training_needed  # noqa: E402
from finetide.operate import up  # noqa: E402
from finetide.pipeline.dvc import run_lock  # noqa: E402
from finetide.pipeline.graph import Graph, ancestors, order  # noqa: E402
from finetide.pipeline.run import StageRun, raise_failure, run_stage, worth_saying  # noqa: E402
from finetide.report import report_path  # noqa: E402

RETRIES = 2
RETRY_DELAY_SECONDS = 10
BUSY = "Busy"
# Of the slot for trainings: a killed holder gives it back within this time.
LEASE_SECONDS = 60
# What Prefect puts before an error's class and text.
PREFECT_SAYS = "Task run encountered an exception "
SETTLED = ("promoted", "rejected", "not-needed")
leases.outlive_the_server()


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
def stage(
    root: str, address: str, stale: bool, upstream: list[dict[str, Any]], show_all: bool = True
) -> dict[str, Any]:
    """Run one stage unless it is clean and nothing before it ran; raise the stage's own error when it fails.

    Args: show_all: publish what a clean stage has to show as well.
    """
    logger = get_run_logger()
    if not stale and not any(before["touched"] for before in upstream):
        run = StageRun(address, "cached", 0.0, 0, "")
    else:
        bars = Bars(address.split("@")[1])

        def hear(line: str) -> None:
            bars.see(line)
            if worth_saying(line):
                logger.info("%s", line)

        run = run_stage(Path(root), address, on_line=hear)
    if run.state == "failed":
        raise_failure(run)
    name, model = address.split("@")
    if show_all or run.touched:
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
    return asdict(conclude(Path(root), model))


def submit_stages(
    root: Path,
    graph: Graph,
    only: list[str],
    stale: set[str],
    futures: dict[str, PrefectFuture[Any]],
    *,
    show_all: bool = True,
) -> None:
    """One task a stage in ``only``, each waiting for exactly the stages that dvc.yaml puts before it.

    Args: show_all: see `stage`.
    """
    for address in (name for name in order(graph) if name in only):
        before = [futures[name] for name in graph[address]]
        named: Any = stage.with_options(name=address.split("@")[0], task_run_name=address)
        # Prefect turns the futures in `before` into the results that the task sees, and into the edges of the graph.
        futures[address] = named.submit(str(root), address, address in stale, before, show_all, wait_for=before)
    for name in only:
        futures[name].wait()


@flow(
    name="retrain",
    flow_run_name="{model}: at work ({reason})",
    task_runner=ThreadPoolTaskRunner(max_workers=1),  # type: ignore[arg-type]
    persist_result=False,
    on_completion=[notices.tell],
    on_failure=[notices.tell],
)
def retrain(model: str, project: str | None = None, reason: str = "by hand", isolated: bool = False) -> State[Any]:
    """Retrain one model of the project and put the result in service if it is better.

    Args:
        model: a model of params.yaml.
        project: the project's folder; without it, the one around the working folder.
        reason: why it runs, for the run's name.
        isolated: work in the model's worktree and take in what lies in the drop folder.
    """
    home = find_project(Path(project) if project else None)
    resumed = isolated and approval.is_resumed(home, model)
    if not resumed and (why := reason_to_skip("retrain", model_params(home, model).schedule)):
        place.rename(f"{model}: skipped ({reason})", "skipped")
        return Completed(name="Skipped", message=why)
    try:
        with place.workplace(home, model, "retrain", isolated=isolated) as root:
            if isolated and not resumed:  # what is approved must be what was looked at
                place.take_in(str(home), str(root), model)
            ended = _retrain(home, root, model, isolated)
    except BusyError as error:
        ended = Failed(name=BUSY, message=str(error))
    except FinetideError as error:
        ended = Failed(name="Failed", message=str(error))
    outcome = str(ended.name)
    place.rename(f"{model}: {_headline(ended)} ({reason})", outcome.lower())
    return ended


def _headline(ended: State[Any]) -> str:
    """E.g. ``promoted v2``."""
    said = str(ended.name).lower()
    version = (ended.message or "").split(" ")[0]
    return f"{said} {version}" if said == "promoted" and version.startswith("v") else said


def _retrain(home: Path, root: Path, model: str, isolated: bool) -> State[Any]:
    for line in advance_window(str(root), model):
        get_run_logger().info("%s", line)
    graph = graph_of(root, model)
    lines, stale = repin(root, model, graph)
    for line in lines:
        get_run_logger().info("%s", line)
    gate = f"gate@{model}"
    before_gate = [name for name in order(graph) if name in ancestors(graph, gate)]
    after_gate = [name for name in order(graph) if name not in before_gate]
    if isolated and (settled := _settled(home, root, model, graph, stale, before_gate)):
        return settled
    futures: dict[str, PrefectFuture[Any]] = {}
    submit_stages(root, graph, before_gate, stale, futures)
    if (failure := _failure(home, root, model, before_gate, futures)) and (
        shut := _ask_about_gate(home, root, model, graph, futures, failure, isolated)
    ):
        return shut
    if isolated:  # the gate is open: whatever was asked about it is answered
        approval.withdraw(home, model, "gate")
    decision = policy(str(root), model)
    if decision["train"]:
        with _slot(home, isolated):
            submit_stages(root, graph, after_gate, stale, futures)
        if failure := _failure(home, root, model, after_gate, futures):
            return failure
    return _promote(home, root, model, graph, futures, isolated)


def _settled(
    home: Path, root: Path, model: str, graph: Graph, stale: set[str], before_gate: list[str]
) -> State[Any] | None:
    """How the last run ended, where nothing has changed since: an idle schedule costs seconds."""
    if stale.intersection(before_gate) or outputs.shift(root, model) is None:
        return None
    found = conclude(root, model, graph, stale)
    if found.outcome == "waiting" and approval.asked_before(home, root, model):
        return _other_waits(found.reason)
    if found.new or found.outcome not in SETTLED:
        return None
    return Completed(name="Unchanged", message=f"nothing changed since: {found.outcome}: {found.reason}")


def _ask_about_gate(
    home: Path,
    root: Path,
    model: str,
    graph: Graph,
    futures: dict[str, PrefectFuture[Any]],
    failure: State[Any],
    isolated: bool,
) -> State[Any] | None:
    """A gate that is shut asks a person; None once it is open. Any other failure stays one."""
    if failure.name != "Halted" or not isolated or not approval.can_ask():
        return failure
    said = failure.message or "halted"
    if not waiting.refusal(root, model) and (other := _ask(home, root, model, said)):
        return other
    if no := waiting.refusal(root, model):
        waiting.clear(home, model)
        return Completed(name="Refused", message=f"{no.who}: {no.why}")
    return _run_gate(home, root, model, graph, futures)


def _promote(
    home: Path, root: Path, model: str, graph: Graph, futures: dict[str, PrefectFuture[Any]], isolated: bool
) -> State[Any]:
    """Conclude; where the policy asks a person first, ask, and conclude again by the answer."""
    found = promotion(str(root), model)
    artifacts.after_run(root, model, f"{found['outcome']}: {found['reason']}", home)
    if found["outcome"] == "waiting" and isolated and approval.can_ask():
        if other := _ask(home, root, model, found["reason"]):
            return other
        if failure := _run_gate(home, root, model, graph, futures):
            return failure
        found = promotion(str(root), model)
        artifacts.after_run(root, model, f"{found['outcome']}: {found['reason']}", home)
    if isolated and found["outcome"] != "waiting":
        approval.withdraw(home, model, "gate", "promotion")
    return Completed(name=found["outcome"].title().replace("-", ""), message=found["reason"], data=found)


def _ask(home: Path, root: Path, model: str, reason: str) -> State[Any] | None:
    """Ask a person, unless another run does; None once there is an answer."""
    if approval.asked_before(home, root, model):
        return _other_waits(reason)
    place.rename(f"{model}: waits for a person", "waiting")
    hours = model_params(home, model).schedule.approval_hours
    approval.ask(home, root, model, artifacts.question(root, model, reason), reason, hours)
    return None


def _other_waits(reason: str) -> State[Any]:
    return Completed(name="Waiting", message=f"another run waits for a person: {reason}")


def _run_gate(
    home: Path, root: Path, model: str, graph: Graph, futures: dict[str, PrefectFuture[Any]]
) -> State[Any] | None:
    """The decisions of people are its inputs: after a new one it is stale, and nothing else is. None if it is open."""
    gate = f"gate@{model}"
    submit_stages(root, graph, [gate], {gate}, futures)
    return _failure(home, root, model, [gate], futures)


@contextmanager
def _slot(home: Path, isolated: bool) -> Iterator[None]:
    """One training at a time on a machine that `finetide up` runs; others wait for it.

    Two at once are slow, not wrong: where the server is away, nobody waits, and a lease that cannot be renewed ends no
    training.
    """
    running = up.read(home) if isolated else None
    if running is None:
        yield
        return
    slot = concurrency(
        slots_name(running.pool), strict=True, lease_duration=LEASE_SECONDS, raise_on_lease_renewal_failure=False
    )
    if not _entered(slot):
        yield
        return
    try:
        yield
    finally:
        try:
            slot.__exit__(None, None, None)
        except httpx.HTTPError as error:
            get_run_logger().warning("the slot is free in %d s, once its lease has run out: %s", LEASE_SECONDS, error)


def _entered(slot: AbstractContextManager[None]) -> bool:
    """False where the server is away. Raises: ConcurrencySlotAcquisitionError for what it answers: no such limit."""
    try:
        slot.__enter__()
    except ConcurrencySlotAcquisitionError as error:
        if not isinstance(error.__cause__, httpx.TransportError):
            raise
        get_run_logger().warning("the server is away, so this training waits for no other: %r", error.__cause__)
        return False
    return True


def _failure(
    home: Path, root: Path, model: str, names: list[str], futures: dict[str, PrefectFuture[Any]]
) -> State[Any] | None:
    for name in names:
        state = futures[name].state
        if state.is_failed() or state.is_crashed():
            found = conclude(root, model)
            message = f"{name}: {said(state.message or '')}"
            artifacts.after_run(root, model, f"{found.outcome}: {message}", home)
            name = "Halted" if found.outcome == "halted" else "Failed"
            return Failed(name=name, message=message, data=asdict(found))
    return None


def said(message: str) -> str:
    """The error's own text, without what Prefect puts before it."""
    return message.removeprefix(PREFECT_SAYS).partition(": ")[2] if message.startswith(PREFECT_SAYS) else message


def run_one(root: Path, model: str) -> int:
    """Run the flow for one model and print how it ended; returns the exit code."""
    with run_lock(root) as repaired:
        for line in repaired:
            print(line)
        quiet = nothing_to_do(root, model)
    if quiet:
        for line in closing_lines(root, model, quiet):
            print(line)
        return quiet.exit_code
    ended: State[Any] = retrain(model, str(root), return_state=True)
    if ended.name == BUSY:
        print(f"error: {ended.message}", file=sys.stderr)
        return BusyError.exit_code
    data = ended.result(raise_on_failure=False) if ended.data is not None else None
    if isinstance(data, dict):  # it concluded, and wrote the report: to do so again takes seconds
        found, report = Conclusion(**data), report_path(root, model)
    else:
        found, report = conclude(root, model), None
    for line in closing_lines(root, model, found, report=report):
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
    logging.getLogger("prefect").setLevel(logging.WARNING)  # else a temporary server speaks of its end after us
    sys.exit(code)
