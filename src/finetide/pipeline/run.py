"""Runs one stage by its address, and says whether it ran, was cached or failed, and why."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from finetide.config.load import PARAMS_FILE
from finetide.errors import FinetideError, GateError, IntegrityError, ToolError
from finetide.pipeline import codelock, dvc, journal
from finetide.pipeline.graph import Graph, order

State = Literal["ran", "cached", "failed"]
_CACHED = ("is cached - skipping run", "didn't change, skipping")


@dataclass(frozen=True)
class StageRun:
    """``stage`` is the address, e.g. ``train@tickets``; ``seconds`` is wall time, DVC's own included.

    ``touched``: DVC was asked, and may have brought other outputs back from its cache; what follows is to be asked too.
    """

    stage: str
    state: State
    seconds: float
    exit_code: int
    error: str
    touched: bool = False


def dirty(root: Path, stages: Iterable[str]) -> set[str]:
    """Those of ``stages`` that DVC calls changed. Not transitive: what follows a changed stage may not be in it."""
    return set(changes(root, stages))


def changes(root: Path, stages: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Stage → what DVC finds changed about it, one thing each, e.g. ``models.mail.train (params.yaml)``."""
    wanted = list(stages)
    status: dict[str, Any] = dvc.json_output(root, ["status", "--json", *wanted])
    return {stage: tuple(_differences(parts)) for stage, parts in status.items() if stage in wanted}


def _differences(parts: list[Any]) -> Iterator[str]:
    """DVC's answer about one stage in words, each thing once."""
    sides = {kind: found for part in parts if isinstance(part, dict) for kind, found in part.items()}
    deps = sides.get("changed deps", {})
    if any(deps.get(file) == "new" for file in (PARAMS_FILE, codelock.LOCK_FILE)):
        yield "has not run yet"  # dvc.lock knows nothing of it: every input would count as changed
        return
    if "changed command" in parts:
        yield "its command (dvc.yaml)"
    for path, state in deps.items():
        if path == codelock.LOCK_FILE:
            yield f"its code or libraries ({codelock.LOCK_FILE})"
        elif isinstance(state, dict):
            yield from (f"{key} ({path})" for key in state)
        else:
            yield f"{path} is missing" if state == "deleted" else path
    for path, state in sides.get("changed outs", {}).items():
        said = {"deleted": "is missing", "not in cache": "is not in DVC's cache"}.get(str(state), "was altered")
        yield f"its output {path} {said}"


def modified(root: Path, stages: Iterable[str]) -> bool:
    """Whether a setting, the code or a file that one of ``stages`` reads has changed; not whether one is missing, nor
    whether an output was altered, which DVC mends."""
    status: dict[str, Any] = dvc.json_output(root, ["status", "--json", *stages])
    parts = [part for found in status.values() for part in found if isinstance(part, dict)]
    outputs = {path for part in parts for path in part.get("changed outs", {})}
    deps = [item for part in parts for item in part.get("changed deps", {}).items() if item[0] not in outputs]
    return "modified" in json.dumps(deps)


def run_stage(root: Path, address: str, *, on_line: dvc.Line | None = None) -> StageRun:
    """``dvc repro -s ADDRESS``: runs this one stage if it is stale. Whoever calls has run what comes before."""
    started = time.monotonic()
    name, model = address.split("@")
    seen = len(journal.read(root, model))
    outcome = dvc.call(root, ["repro", "-s", address], on_line=on_line)
    seconds = round(time.monotonic() - started, 2)
    if outcome.code == 0:
        ran = not any(marker in outcome.output for marker in _CACHED)
        if not ran:
            journal.append(root, model, stage=name, state="cached", seconds=seconds)
        return StageRun(address, "ran" if ran else "cached", seconds, 0, "", touched=True)
    # DVC ends with 255 whatever the stage said; the stage left its own code and words in the journal.
    failed = [
        event
        for event in journal.read(root, model)[seen:]
        if event.get("stage") == name and event.get("state") == "failed"
    ]
    if failed:
        return StageRun(address, "failed", seconds, int(failed[-1]["exit"]), str(failed[-1]["error"]))
    if outcome.code in dvc.KILLED or f"exited with {dvc.KILLED[1]}" in outcome.output:
        gone = dvc.killed(f"stage {name}" if outcome.code not in dvc.KILLED else f"`dvc repro -s {address}`", None)
        return StageRun(address, "failed", seconds, gone.exit_code, str(gone))
    tail = "\n".join(outcome.output.splitlines()[-15:])
    error = dvc.failure(f"`dvc repro -s {address}` failed:\n{tail}", None, None)
    return StageRun(address, "failed", seconds, error.exit_code, str(error))


def run_graph(
    root: Path,
    graph: Graph,
    *,
    on_stage: Callable[[str], None],
    on_done: Callable[[StageRun], None],
    on_line: dvc.Line | None = None,
    stale: set[str],
    only: Iterable[str] | None = None,
    touched_before: Iterable[str] = (),
) -> list[StageRun]:
    """Run the stages of ``graph`` (or those in ``only``) in order; stop at the first that fails.

    A stage that is clean, and before which DVC did nothing (``touched_before`` included), is cached without a call.

    Args: stale: those that DVC called changed before any of them ran, see `dirty`.
    """
    wanted = [stage for stage in order(graph) if only is None or stage in set(only)]
    moved = set(touched_before)
    runs: list[StageRun] = []
    for stage in wanted:
        if stage not in stale and not moved.intersection(graph[stage]):
            run = StageRun(stage, "cached", 0.0, 0, "")
        else:
            on_stage(stage)
            run = run_stage(root, stage, on_line=on_line)
        runs.append(run)
        on_done(run)
        if run.state == "failed":
            return runs
        if run.touched:
            moved.add(stage)
    return runs


# DVC found the lock of a process that was killed, and took it away: our own line on the cut-off run says so.
_FREED = re.compile(r"Process '.*' with \(Pid \d+\), in RWLock-file '.*' had been killed\.")


def worth_saying(line: str) -> bool:
    """DVC's own housekeeping lines tell a person nothing."""
    noise = (
        "Running stage",
        "> finetide",
        "Generating lock file",
        "Updating lock file",
        "Use `dvc push`",
        "To track",
        "git add",
    )
    hints = ("To enable auto staging", "dvc config core.autostage", "Stage '", "Data and pipelines are up to date")
    return bool(line.strip()) and not line.strip().startswith(noise + hints) and not _FREED.search(line)


def raise_failure(run: StageRun) -> None:
    """Turn a failed stage into the error that the stage itself raised, with its exit code."""
    kinds: dict[int, type[FinetideError]] = {3: GateError, 6: IntegrityError}
    error = kinds.get(run.exit_code, ToolError)(f"stage {run.stage} failed: {run.error}")
    error.exit_code = run.exit_code
    raise error
