"""After the stages: promote, reject or acknowledge, and say how the run ended."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from finetide.config.evaluate import EvaluateParams
from finetide.config.graph import stage_files
from finetide.config.load import load_section
from finetide.config.params import model_params
from finetide.config.policy import PolicyParams
from finetide.contracts.gate import Approval
from finetide.contracts.judge import JudgeVerdict
from finetide.contracts.ledger import LedgerEntry
from finetide.contracts.status import Outcome
from finetide.contracts.window import Window
from finetide.errors import GateError, InputError, ProjectError
from finetide.files import sha256_file
from finetide.lifecycle import outputs, policy, remote, waiting
from finetide.lifecycle.policy import Decision
from finetide.lifecycle.restore import restore
from finetide.lifecycle.waiting import Question
from finetide.pipeline import journal
from finetide.pipeline.graph import Graph, ancestors, of_model, read
from finetide.pipeline.run import dirty
from finetide.registry import approvals, history, ledger, service
from finetide.registry.clock import Clock, parse, utc_now
from finetide.registry.window import window_path

EXIT_CODES: dict[str, int] = dict.fromkeys(("halted", "rejected", "waiting"), GateError.exit_code)


@dataclass(frozen=True)
class Conclusion:
    """How a run ended. ``new`` is False when nothing was to be done; ``exit_code`` is then 0 whatever came before. What
    waits for a person is to be done."""

    outcome: Outcome
    reason: str
    exit_code: int
    new: bool


def training_needed(root: Path, model: str, now: Clock = utc_now) -> tuple[bool, str]:
    """The policy between gate and train: is this window worth a retraining now? With the reason."""
    decision = decide_training(root, model, now)
    return decision.word == "train", decision.reason


def decide_training(root: Path, model: str, now: Clock = utc_now) -> Decision:
    """See `finetide.lifecycle.policy`; a model without a champion is always trained.

    Raises: ConfigError for a label description that evaluate would refuse, hours later.
    """
    _check_descriptions(root, model)
    window = Window.read(window_path(root, model))
    if window.champion is None:
        return Decision("train", "no champion yet")
    shift = outputs.shift(root, model)
    if shift is None:
        raise ProjectError("is missing", where="shift.json", fix=f"run `finetide run {model}`")
    params = load_section(root, f"models.{model}.policy", PolicyParams)
    pinned = sha256_file(window_path(root, model))
    known = policy.known(root, model, shift, outputs.recipe(root, model), ledger.read(root, model), pinned)
    return policy.decide(known, params, parse(now()))


def _check_descriptions(root: Path, model: str) -> None:
    """Validate is the first to know the labels; incoming rows may bring some that it does not list as known."""
    evaluate = model_params(root, model).evaluate
    descriptions = evaluate.label_descriptions if isinstance(evaluate, EvaluateParams) else {}
    quality = outputs.quality(root, model)
    if not descriptions or quality is None:
        return
    from finetide.tasks.label_texts import check_descriptions

    seen = {label for counts in quality.counts.values() for label in counts}
    check_descriptions([*quality.labels, *sorted(seen - set(quality.labels))], descriptions)


def conclude(root: Path, model: str, graph: Graph | None = None, stale: set[str] | None = None) -> Conclusion:
    """Read the verdict files and act on them, once: a second call finds its ledger entry and does nothing.

    Args: graph, stale: the model's stages, and those that are stale, where the caller knows; each answer of DVC's takes
    seconds.
    """
    graph = graph or of_model(read(root), model)
    stale = dirty(root, graph) if stale is None else stale
    if failed := _failure(root, model, stale):
        return failed
    entries = ledger.read(root, model)
    if not _before_gate(graph, model, stale):  # else what the policy goes by is missing, or of other rows
        decision = decide_training(root, model)
        if decision.word != "train":
            return _set_aside(root, model, entries, decision)
    if stale:
        return Conclusion("stale", f"stale: {', '.join(sorted(stale))}", 0, new=False)
    return _judge(root, model, entries)


def _before_gate(graph: Graph, model: str, stale: set[str]) -> set[str]:
    """The gate itself is not counted: it is stale with each answer of a person."""
    gate = f"gate@{model}"
    return stale & (ancestors(graph, gate) - {gate}) if stale else set()


def promote_challenger(root: Path, model: str, *, force: bool, why: str | None) -> str:
    """`finetide promote`. Raises: GateError when the judge or a person said no and ``force`` is not given."""
    if force and not why:
        raise InputError("--force needs a reason for the ledger", where="--why", fix='add --why "…"')
    stale = dirty(root, of_model(read(root), model))
    verdict = outputs.judge(root, model)
    if verdict is None or stale:
        raise ProjectError(
            "there is no judged challenger that is up to date", where=model, fix=f"run `finetide run {model}`"
        )
    entries = ledger.read(root, model)
    current = history.champion(entries)
    if current is not None and current.bundle_hash == verdict.challenger_hash:
        return f"{model}: {current.version} ({verdict.challenger_hash[:12]}) is in service already"
    asked = waiting.before_promotion(root, model, verdict, entries)
    said = waiting.answer(root, model, asked.verdict_hash) if asked else None
    if said is not None and said.decision == "rejected" and not force:
        fix = f'change that with finetide approve {model} --why "…", or --force --why "…"'
        raise GateError(f"was refused by {said.who}: {said.why}", where=model, fix=fix)
    entry = _promote(root, model, verdict, why or verdict.reason, force_reason=why if force else None)
    waits = remote.waiting_line(root, model)
    lines = [f"{model}: {entry.version} ({verdict.challenger_hash[:12]}) is in service", *([waits] if waits else [])]
    return "\n  ".join(lines)


def roll_back(root: Path, model: str, version: str | None, why: str) -> str:
    entries = ledger.read(root, model)
    target = history.versions(entries).get(version) if version else history.previous_champion(entries)
    if target is not None and target.bundle_hash:
        restore(root, model, target.bundle_hash)
    entry = service.rollback(root, model, version, reason=why)
    return f"{model}: {entry.version} is back in service; the version left is withdrawn"


def decide(root: Path, model: str, decision: Literal["approved", "rejected"], why: str, who: str | None) -> str:
    """`finetide approve` and `reject`: a file and an entry in the ledger, about exactly what waits for a person."""
    asked = waiting.standing(root, model)
    if asked is None:
        missing = [path.name for path in outputs.verdict_paths(root, model) if not path.exists()]
        raise ProjectError(f"{', '.join(missing)} is missing", where=model, fix=f"run `finetide run {model}` first")
    # Nobody can mean to decide on a file that no stage wrote.
    outputs.quality(root, model), outputs.leakage(root, model), outputs.shift(root, model)
    path = approvals.write_approval(root, model, asked.verdict_hash, decision, why=why, who=who)
    event: Literal["approved", "refused"] = "approved" if decision == "approved" else "refused"
    window, hashes = Window.read(window_path(root, model)), {"verdict": asked.verdict_hash}
    service.record(root, model, event, reason=why, window=window, bundle_hash=asked.challenger, who=who, hashes=hashes)
    what = f"verdict {asked.verdict_hash[:12]}"
    if asked.challenger:
        what = f"challenger {asked.challenger[:12]} ({what})"
    ending = f"; next: finetide run {model}" if decision == "approved" else ""
    return f"{model}: {decision} {what} in {path.relative_to(root)}{ending}"


def _failure(root: Path, model: str, stale: set[str]) -> Conclusion | None:
    """The newest failure that still stands: a stage that failed last and is stale now."""
    events = journal.last_of_stage(root, model)
    for name, event in events.items():
        if event["state"] == "failed" and f"{name}@{model}" in stale:
            halted = int(event["exit"]) == GateError.exit_code
            outcome: Outcome = "halted" if halted else "failed"
            return Conclusion(outcome, f"{name}: {event['error']}", int(event["exit"]), new=True)
    return None


def _set_aside(root: Path, model: str, entries: list[LedgerEntry], decision: Decision) -> Conclusion:
    """Acknowledge the rows, or let them wait; each once."""
    event: Literal["not-needed", "postponed"] = "postponed" if decision.word == "wait" else "not-needed"
    pinned = sha256_file(window_path(root, model))
    about = [entry for entry in entries if entry.event == event and entry.hashes.get("window") == pinned]
    done = any(event == "not-needed" or entry.reason == decision.reason for entry in about)
    if not done:
        window = Window.read(window_path(root, model))
        service.record(root, model, event, reason=decision.reason, window=window, hashes=_hashes(root, model))
    return Conclusion(event, decision.reason, 0, new=not done)


def _judge(root: Path, model: str, entries: list[LedgerEntry]) -> Conclusion:
    verdict = outputs.judge(root, model)
    if verdict is None:
        return Conclusion("never-run", "nothing was judged yet", 0, new=False)
    if verdict.challenger_hash in history.withdrawn(entries):
        return Conclusion("rejected", "this bundle was withdrawn by a rollback and stays out", 0, new=False)
    if outputs.is_withdrawn(root, model, entries, verdict):
        reason = "its training weights were withdrawn by a rollback and stay out, in whatever bundle"
        return Conclusion("rejected", reason, 0, new=False)
    asked = waiting.before_promotion(root, model, verdict, entries)
    said = waiting.answer(root, model, asked.verdict_hash) if asked else None
    if known := _decided(root, model, entries, verdict, asked, said):
        return known
    if verdict.verdict == "reject":
        return _reject(root, model, verdict, verdict.reason, {})
    reason = verdict.reason
    if asked is not None:
        if said is None:
            return Conclusion("waiting", asked.reason, EXIT_CODES["waiting"], new=True)
        if said.decision == "rejected":
            hashes = {"verdict": asked.verdict_hash}
            return _reject(root, model, verdict, f"refused by {said.who}: {said.why}", hashes)
        reason = f"{reason}; approved by {said.who}: {said.why}"
    entry = _promote(root, model, verdict, reason, force_reason=None)
    policy.remember(root, model, verdict, promoted=True)
    return Conclusion("promoted", f"{entry.version} is in service: {reason}", 0, new=True)


def _decided(
    root: Path,
    model: str,
    entries: list[LedgerEntry],
    verdict: JudgeVerdict,
    asked: Question | None,
    said: Approval | None,
) -> Conclusion | None:
    """How this challenger ended before, on this very window.

    Rejected once, and the judge, run again with other limits, says promote: that is a new decision. So is a yes after a
    person's no. That no holds where its file is not: the ledger has it, for every worktree and clone.
    """
    pinned = sha256_file(window_path(root, model))
    approved = said is not None and said.decision == "approved"
    for entry in entries:
        if entry.bundle_hash != verdict.challenger_hash or entry.hashes.get("window") != pinned:
            continue
        if entry.event == "promoted":
            return Conclusion("promoted", _with_second_thoughts(entry, verdict), 0, new=False)
        refused = asked is not None and not approved and entry.hashes.get("verdict") == asked.verdict_hash
        if entry.event == "rejected" and (verdict.verdict == "reject" or refused):
            return Conclusion("rejected", entry.reason, 0, new=False)
    return None


def _reject(root: Path, model: str, verdict: JudgeVerdict, reason: str, hashes: dict[str, str]) -> Conclusion:
    service.record(
        root,
        model,
        "rejected",
        reason=reason,
        window=Window.read(window_path(root, model)),
        bundle_hash=verdict.challenger_hash,
        hashes={**_hashes(root, model), **hashes},
    )
    policy.remember(root, model, verdict, promoted=False)
    return Conclusion("rejected", reason, EXIT_CODES["rejected"], new=True)


def _with_second_thoughts(entry: LedgerEntry, verdict: JudgeVerdict) -> str:
    """Why it was promoted; and what the judge, run again since, would say today. What is in service stays."""
    if verdict.verdict == "promote":
        return entry.reason
    return f"{entry.reason}; the judge, run again since, would reject it now: {verdict.reason}"


def _promote(root: Path, model: str, verdict: JudgeVerdict, reason: str, force_reason: str | None) -> LedgerEntry:
    remote.intend(root, model, verdict.challenger_hash)
    return service.promote(
        root,
        model,
        verdict,
        bundle=root / stage_files(root, "export", model).outs["bundle"],
        weights=root / stage_files(root, "train", model).outs["model"],
        window=Window.read(window_path(root, model)),
        reason=reason,
        hashes=_hashes(root, model),
        force_reason=force_reason,
        before_alias=lambda: remote.push(root, model),
    )


def _hashes(root: Path, model: str) -> dict[str, str]:
    """What the decision was made on, by file."""
    files = {
        "window": window_path(root, model),
        "quality": outputs.path_of(root, model, "validate", "quality.json"),
        "shift": outputs.path_of(root, model, "shift", "shift.json"),
        "judge": outputs.path_of(root, model, "judge", "judge.json"),
        "data": outputs.path_of(root, model, "split", "split.parquet"),
    }
    return {name: sha256_file(path) for name, path in files.items() if path.exists()}
