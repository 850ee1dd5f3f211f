"""`finetide why`: one chain, from the rows to the decision."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from finetide.contracts.ledger import LedgerEntry
from finetide.contracts.window import Window
from finetide.lifecycle import isolate, outputs, waiting
from finetide.registry import history, ledger
from finetide.registry.window import read_window

# What each stage answers, in the order of the road.
QUESTIONS = {
    "ingest": "what was read",
    "validate": "may it be used",
    "split": "is the test fair",
    "shift": "has it moved",
    "train": "what was trained",
    "evaluate": "how good is it",
    "export": "is the file the model",
    "judge": "is it better",
}


def chain(root: Path, model: str) -> Iterator[str]:
    """A line a link: files, stages, decision, what is in service. Of the place that decided last: a scheduled run's
    worktree or this checkout.

    Args: root: the checkout's project.
    """
    entries = ledger.read(root, model)
    place = decided_in(root, model, entries)
    where = "this checkout" if place == root else f"scheduled runs ({place.relative_to(root)})"
    yield f"{model}, as {where} left it:"
    window = read_window(place, model)
    for role in ("reference", "incoming", "excluded"):
        if files := window.paths(role):
            yield f"  {role:<10} {', '.join(f'{file.path} ({file.sha256[:8]})' for file in files)}"
    yield f"  {'to beat':<10} {window.champion.version if window.champion else 'nothing yet'}, from {window.start}"
    for stage, question in QUESTIONS.items():
        if said := outputs.sentence(place, model, stage):
            yield f"  {stage:<10} {question}? {said}"
    yield from _decisions(root, place, model, entries, window)


def decided_in(root: Path, model: str, entries: list[LedgerEntry]) -> Path:
    """Where the newest decision was made, by its window; the worktree where a run waits; else the checkout."""
    project = isolate.worktree_path(root, model)
    if not (project / "dvc.yaml").is_file():
        return root
    asked = waiting.read(root, model)
    if asked is not None and asked.verdict_hash == waiting.verdict_of(project, model):
        return project
    newest = next((entry for entry in reversed(entries) if entry.event in history.JUDGED), None)
    here, there = read_window(root, model), read_window(project, model)
    return project if newest is not None and newest.window == there != here else root


def _decisions(root: Path, place: Path, model: str, entries: list[LedgerEntry], window: Window) -> Iterator[str]:
    decided = [entry for entry in entries if entry.window == window]
    for entry in decided:
        version = f" {entry.version}" if entry.version else ""
        yield f"  {'decision':<10} {entry.event}{version}, {entry.time}, by {entry.who}: {entry.reason}"
    asked = waiting.read(root, model)
    question = waiting.standing(place, model)
    unanswered = question is not None and waiting.answer(place, model, question.verdict_hash) is None
    if asked is not None:
        yield f"  {'waits':<10} for a person: {' '.join(asked.reason.split())}"
    elif question is not None and question.about == "promotion" and unanswered:
        yield f"  {'waits':<10} {question.reason}: finetide approve {model}, or reject"
    elif not decided:
        yield f"  {'decision':<10} none yet about these files: finetide run {model}"
    champion = history.champion(entries)
    if champion is None:
        yield f"  {'in service':<10} nothing yet"
    else:
        yield f"  {'in service':<10} {champion.version} ({(champion.bundle_hash or '')[:12]}): {champion.reason}"
