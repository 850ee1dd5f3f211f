"""`finetide status`: read from files, ledger and DVC; nothing is run and nothing is written."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from finetide.config.graph import stage_names
from finetide.contracts.judge import JudgeVerdict
from finetide.contracts.ledger import Alias
from finetide.contracts.metrics import MAIN, METRIC_NAMES, Measure, main_metric
from finetide.contracts.status import (
    ChampionStatus,
    FiguresOf,
    FiguresStatus,
    ModelStatus,
    Outcome,
    ParityStatus,
    StageStatus,
    Status,
)
from finetide.contracts.window import Window
from finetide.files import sha256_file
from finetide.lifecycle import outputs, waiting
from finetide.pipeline import journal
from finetide.pipeline.dvc import is_busy, require_repository, run_started
from finetide.pipeline.graph import Graph, of_model, order, read
from finetide.pipeline.run import changes
from finetide.registry import history, ledger, service
from finetide.registry.alias import read_alias
from finetide.registry.window import window_path
from finetide.report.words import BASELINE_NAMES, ROLE_NAMES

# A run that is at work: when it began; None where that is not known (a DVC call, and no run, is at work).
Began = float | None


def read_status(root: Path, models: Sequence[str]) -> Status:
    """While a run is at work DVC cannot be asked: then the outcome is ``running`` and no stage is called stale.

    Raises: ProjectError outside a git repository, IntegrityError where ledger and alias contradict, as a run does.
    """
    require_repository(root)
    busy = is_busy(root)
    began = run_started(root) if busy else None
    graph = None if busy else read(root)
    return Status(
        models={
            model: _of_model(root, model, None if graph is None else of_model(graph, model), began) for model in models
        }
    )


def _of_model(root: Path, model: str, graph: Graph | None, began: Began) -> ModelStatus:
    stages = _stages(root, model, graph, began)
    champion = read_alias(root, model)
    if champion is not None:
        service.check_alias(root, model, champion, ledger.read(root, model))
    metrics, parity = outputs.metrics(root, model), outputs.parity(root, model)
    quality, shift, judge = outputs.quality(root, model), outputs.shift(root, model), outputs.judge(root, model)
    labels = outputs.label_issues(root, model)
    outcome: Outcome = "running" if graph is None else _outcome(root, model, stages)
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
        suspect_labels=None if labels is None else labels.train.suspects,
        waiting=_asked(root, model, outcome),
        outcome=outcome,
        stages=stages,
        figures=_figures(root, model, stages, judge, champion) if metrics else None,
    )


def _stages(root: Path, model: str, graph: Graph | None, began: Began) -> dict[str, StageStatus]:
    """A stage after a stale one is stale too: DVC's own status is not transitive."""
    changed = {} if graph is None else changes(root, graph)
    stale = set(changed)
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
        found[name] = StageStatus.model_validate(
            {
                "state": state,
                "seconds": event.get("seconds"),
                "why": changed.get(f"{name}@{model}", ()),
                "earlier": None if began is None else _before(event, began),
            }
        )
    return found


def _before(event: dict[str, Any], began: float) -> bool:
    """Whether a stage's newest event is of a run before the one that began then. The journal counts whole seconds."""
    return "time" not in event or datetime.fromisoformat(str(event["time"])).timestamp() < math.floor(began)


def _figures(
    root: Path, model: str, stages: dict[str, StageStatus], judge: JudgeVerdict | None, champion: Alias | None
) -> FiguresStatus:
    """Whose figures metrics.json holds: of what was evaluated last, which need not be what is in service."""
    evaluated, judged = stages["evaluate"], stages["judge"]
    fresh = evaluated.earlier is False or (evaluated.earlier is None and evaluated.state in ("ran", "cached"))
    pending = judged.earlier is True or (judged.earlier is None and judged.state in ("stale", "failed"))
    if judge is None or (fresh and pending):
        said = "of the latest challenger, which is not judged yet"
        return FiguresStatus(of="challenger", version=None, hash=None, sentence=said)
    entries, hash_ = ledger.read(root, model), judge.challenger_hash
    promoted = history.promotion(entries, hash_)
    version = promoted.version if promoted else None
    name = f"{version} ({hash_[:12]})" if version else f"the challenger {hash_[:12]}"
    before = "" if fresh else ", from the run before: its inputs have changed since"
    if evaluated.earlier:
        before = ", from a run before; the one at work has not come to evaluate yet"
    other = f"; in service is {champion.version}, whose figures these are not" if champion else ""
    of: FiguresOf
    if champion is not None and champion.hash == hash_:
        of, said, other = "in-service", f"which is in service{before}", ""
    elif outputs.is_withdrawn(root, model, entries, judge):
        of, said = "withdrawn", f"withdrawn by a rollback{before}"
    elif before:
        of, said = "earlier-run", before.removeprefix(", ")
    elif judge.verdict == "reject":
        of, said = "rejected", "which the judge rejected"
    else:
        of, said = "challenger", "the latest challenger"
    return FiguresStatus(of=of, version=version, hash=hash_, sentence=f"of {name}, {said}{other}")


def _outcome(root: Path, model: str, stages: dict[str, StageStatus]) -> Outcome:
    if stages["gate"].state == "failed":
        return "halted"
    if any(stage.state == "failed" for stage in stages.values()):
        return "failed"
    entries = ledger.read(root, model)
    path = window_path(root, model)
    pinned = sha256_file(path) if path.exists() else ""
    of_window = [entry for entry in entries if entry.hashes.get("window") == pinned]
    if of_window and stages["gate"].state != "stale":
        if of_window[-1].event == "not-needed":
            return "not-needed"
        if of_window[-1].event == "postponed":
            return "postponed"
    judge = outputs.judge(root, model)
    if judge is None:
        return "never-run" if all(stage.state == "stale" for stage in stages.values()) else "stale"
    if any(stage.state == "stale" for stage in stages.values()):
        return "stale"
    events = {entry.event for entry in of_window if entry.bundle_hash == judge.challenger_hash}
    if "rejected" in events or outputs.is_withdrawn(root, model, entries, judge):
        return "rejected"
    if "promoted" in events:
        return "promoted"
    return "waiting" if waiting.before_promotion(root, model, judge, entries) else "ready"


def _asked(root: Path, model: str, outcome: Outcome) -> str | None:
    """What a scheduled run asks a person; else what the last run here left to one."""
    found = waiting.read(root, model)
    if found is not None:
        return found.reason
    question = waiting.standing(root, model) if outcome == "waiting" else None
    return question.reason if question else None


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
        if model.waiting:
            yield f"  waiting     {' '.join(model.waiting.split())}"
            yield f'              next: finetide approve {name} --why "…", or finetide reject'
        verdicts = ", ".join(_verdict(stage, word, model) for stage, word in model.verdicts.items())
        yield f"  verdicts    {verdicts}"
        if model.figures:
            yield f"  figures     {model.figures.sentence}"
        for role, metrics in model.metrics.items():
            yield f"  {role:<11} {', '.join(_shown(metric, measure) for metric, measure in metrics.items())}"
        if model.baselines:
            yield f"  beside it   {_beside(model)}"
        if model.parity:
            passed = "passed" if model.parity.passed else "failed"
            yield f"  parity      {passed}: largest difference {model.parity.max_abs_error:.1e}"
        if model.suspect_labels is not None:
            found_by = "of the training rows look mislabelled to a probe"
            yield f"  labels      {model.suspect_labels} {found_by}: finetide report {name}"
        stages = ", ".join(_stage(stage, found, model) for stage, found in model.stages.items())
        yield f"  stages      {stages}"
        yield from _reasons(model)


def _beside(model: ModelStatus) -> str:
    """The baselines' main metric on the rows of the widest role."""
    role = "all" if "all" in model.metrics else next(iter(model.metrics))
    metric = main_metric(model.metrics[role]) or MAIN[0]
    said = [
        f"{BASELINE_NAMES.get(name, name)} {roles[role][metric].value:.3f}"
        for name, roles in model.baselines.items()
        if metric in roles.get(role, {})
    ]
    return f"{METRIC_NAMES[metric]} on {ROLE_NAMES.get(role, role)}: {', '.join(said)}"


def _verdict(stage: str, word: str | None, model: ModelStatus) -> str:
    before = " (run before)" if word and model.stages[stage].earlier else ""
    return f"{stage} {word or '-'}{before}"


def _stage(name: str, found: StageStatus, model: ModelStatus) -> str:
    if model.outcome in ("not-needed", "postponed") and found.state == "stale":
        return f"{name} {'not needed' if model.outcome == 'not-needed' else 'postponed'}"
    if found.earlier and found.state == "stale":
        return f"{name} not reached yet"
    return f"{name} {found.state}{' (run before)' if found.earlier else ''}"


def _reasons(model: ModelStatus) -> Iterator[str]:
    """Why stages are stale, each that is so by itself; or why that means nothing."""
    if model.outcome == "not-needed":
        yield "  next        nothing is to be trained: the incoming rows were acknowledged as harmless, and count as"
        yield "              reference rows when the next file comes; `dvc repro` would train anyway"
        return
    if model.outcome == "postponed":
        yield "  next        the incoming rows wait, as the policy says (finetide history); a run looks again, and"
        yield "              `dvc repro` would train anyway"
        return
    new = ("has not run yet",)
    for name, found in model.stages.items():
        if found.state in ("stale", "failed") and found.why and (found.why != new or model.outcome != "never-run"):
            said = found.why[0] if found.why == new else f"changed: {', '.join(found.why)}"
            yield f"  {found.state:<11} {name}: {said}"


def _shown(metric: str, measure: Measure) -> str:
    interval = "" if measure.low is None else f" [{measure.low:.3f}, {measure.high:.3f}]"
    return f"{metric} {measure.value:.3f}{interval}"
