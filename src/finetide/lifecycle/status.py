"""`finetide status`: read from files, ledger and DVC; nothing is run and nothing is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from finetide.config.graph import stage_names
from finetide.contracts.metrics import Measure
from finetide.contracts.status import ChampionStatus, ModelStatus, Outcome, ParityStatus, StageStatus, Status
from finetide.contracts.window import Window
from finetide.files import sha256_file
from finetide.lifecycle import outputs
from finetide.pipeline import journal
from finetide.pipeline.dvc import is_busy
from finetide.pipeline.graph import Graph, of_model, order, read
from finetide.pipeline.run import dirty
from finetide.registry import history, ledger
from finetide.registry.alias import read_alias
from finetide.registry.window import window_path


def read_status(root: Path, models: Sequence[str]) -> Status:
    """While a run is at work DVC cannot be asked: then the outcome is ``running`` and no stage is called stale."""
    graph = None if is_busy(root) else read(root)
    return Status(
        models={model: _of_model(root, model, None if graph is None else of_model(graph, model)) for model in models}
    )


def _of_model(root: Path, model: str, graph: Graph | None) -> ModelStatus:
    stages = _stages(root, model, graph)
    champion = read_alias(root, model)
    metrics, parity = outputs.metrics(root, model), outputs.parity(root, model)
    quality, shift, judge = outputs.quality(root, model), outputs.shift(root, model), outputs.judge(root, model)
    path = window_path(root, model)
    return ModelStatus(
        champion=None
        if champion is None
        else ChampionStatus(version=champion.version, hash=champion.hash, bundle=champion.bundle, since=champion.since),
        window=Window.read(path).model_dump(mode="json") if path.exists() else {},
        verdicts={
            "validate": quality.verdict if quality else None,
            "shift": shift.verdict if shift else None,
            "judge": judge.verdict if judge else None,
        },
        metrics=metrics.roles if metrics else {},
        baselines=metrics.baselines if metrics else {},
        parity=None
        if parity is None
        else ParityStatus(max_abs_error=parity.max_abs_error, agreement=parity.agreement, passed=parity.passed),
        outcome="running" if graph is None else _outcome(root, model, stages),
        stages=stages,
    )


def _stages(root: Path, model: str, graph: Graph | None) -> dict[str, StageStatus]:
    """A stage after a stale one is stale too: DVC's own status is not transitive."""
    stale = set() if graph is None else dirty(root, graph)
    for stage in order(graph or {}):
        if graph and stale.intersection(graph[stage]):
            stale.add(stage)
    last = journal.last_of_stage(root, model)
    found = {}
    for name in stage_names(root):
        event: dict[str, Any] = last.get(name, {})
        failed = event.get("state") == "failed"
        unknown = graph is None and not event  # a first run is at work, and has not come this far
        state = ("failed" if failed else "stale") if f"{name}@{model}" in stale or unknown else "cached"
        if state == "cached" and event.get("state") == "ran":
            state = "ran"
        found[name] = StageStatus.model_validate({"state": state, "seconds": event.get("seconds")})
    return found


def _outcome(root: Path, model: str, stages: dict[str, StageStatus]) -> Outcome:
    if stages["gate"].state == "failed":
        return "halted"
    if any(stage.state == "failed" for stage in stages.values()):
        return "failed"
    entries = ledger.read(root, model)
    path = window_path(root, model)
    pinned = sha256_file(path) if path.exists() else ""
    of_window = [entry for entry in entries if entry.hashes.get("window") == pinned]
    if of_window and of_window[-1].event == "not-needed" and stages["gate"].state != "stale":
        return "not-needed"
    judge = outputs.judge(root, model)
    if judge is None:
        return "never-run" if all(stage.state == "stale" for stage in stages.values()) else "stale"
    if any(stage.state == "stale" for stage in stages.values()):
        return "stale"
    events = {entry.event for entry in of_window if entry.bundle_hash == judge.challenger_hash}
    if judge.challenger_hash in history.withdrawn(entries) or "rejected" in events:
        return "rejected"
    return "promoted" if "promoted" in events else "ready"


def as_lines(root: Path, status: Status) -> Iterator[str]:
    """The same for a person, with where the bundle lies. ``root``: the project's folder."""
    for name, model in status.models.items():
        champion = model.champion
        served = f"{champion.version} ({champion.hash[:12]}) since {champion.since}" if champion else "nothing yet"
        yield f"{name}: {model.outcome}"
        yield f"  in service  {served}"
        if champion:
            gone = "" if (root / champion.bundle).is_dir() else f": is missing; finetide run {name} brings it back"
            yield f"  bundle      {champion.bundle}{gone}"
        verdicts = ", ".join(f"{stage} {word or '-'}" for stage, word in model.verdicts.items())
        yield f"  verdicts    {verdicts}"
        for role, metrics in model.metrics.items():
            yield f"  {role:<11} {', '.join(_shown(metric, measure) for metric, measure in metrics.items())}"
        if model.parity:
            passed = "passed" if model.parity.passed else "failed"
            yield f"  parity      {passed}: largest difference {model.parity.max_abs_error:.1e}"
        stages = ", ".join(f"{stage} {found.state}" for stage, found in model.stages.items())
        yield f"  stages      {stages}"


def _shown(metric: str, measure: Measure) -> str:
    interval = "" if measure.low is None else f" [{measure.low:.3f}, {measure.high:.3f}]"
    return f"{metric} {measure.value:.3f}{interval}"
