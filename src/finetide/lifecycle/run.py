"""`finetide run`: one model from its window to the ledger, without Prefect."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from finetide.lifecycle import outputs, remote
from finetide.lifecycle.conclude import Conclusion, conclude, training_needed
from finetide.lifecycle.prepare import prepare, repin
from finetide.pipeline import journal
from finetide.pipeline.dvc import require_repository
from finetide.pipeline.graph import Graph, ancestors, of_model, read
from finetide.pipeline.run import StageRun, run_graph, worth_saying
from finetide.registry.alias import read_alias
from finetide.report import write

Say = Callable[[str], None]
__all__ = ["closing_lines", "graph_of", "nothing_to_do", "run_model", "training_needed"]


def graph_of(root: Path, model: str) -> Graph:
    """The model's part of DVC's graph."""
    return of_model(read(root), model)


def nothing_to_do(root: Path, model: str) -> Conclusion | None:
    """How the last run ended, if nothing has changed since, or what a person is asked; None when there is work.

    One question to DVC answers it, so that an idle schedule costs seconds.
    """
    require_repository(root)
    prepare(root, model)
    found = conclude(root, model)
    settled = not found.new and found.outcome in ("promoted", "rejected", "not-needed", "postponed")
    return found if settled or found.outcome == "waiting" else None


def run_model(root: Path, model: str, say: Say) -> Conclusion:
    """Take in what is new, run what is stale, conclude. Raises only for what no verdict file can say."""
    require_repository(root)
    for line in prepare(root, model):
        say(f"{model}: {line}")
    graph = graph_of(root, model)
    lines, stale = repin(root, model, graph)
    for line in lines:
        say(f"{model}: {line}")
    ran: list[str] = []
    found = _run_stages(root, model, graph, stale, say, ran) if stale else conclude(root, model, graph, stale)
    for line in closing_lines(root, model, found, ran):
        say(line)
    return found


def _run_stages(root: Path, model: str, graph: Graph, stale: set[str], say: Say, ran: list[str]) -> Conclusion:
    """Args: ran: filled with the names of the stages that did run."""
    to_gate = ancestors(graph, f"gate@{model}")

    def done(run: StageRun) -> None:
        if run.state == "ran":
            ran.append(run.stage.split("@")[0])
        name = run.stage.split("@")[0]
        mark = {"ran": "✓", "cached": "·", "failed": "✗"}[run.state]
        said = outputs.sentence(root, model, name) if run.state != "failed" else run.error.split("\n")[0]
        say(f"  {mark} {name:<9} {run.seconds:6.1f} s  {run.state:<6}  {said}")

    failing, name = False, ""

    def start(stage: str) -> None:
        nonlocal failing, name
        failing, name = False, stage.split("@")[0]
        say(f"  → {stage}{last_time(root, stage)}")

    def echo(line: str) -> None:
        nonlocal failing
        failing = failing or line.startswith("error: ")  # said once, in whole, by the closing line
        again = line.strip() == outputs.sentence(root, model, name)  # the stage's last words: `done` says them
        if not failing and not again and worth_saying(line):
            say(f"      {line}")

    before = run_graph(root, graph, on_stage=start, on_done=done, on_line=echo, only=to_gate, stale=stale)
    if before[-1].state == "failed":
        return _failed(root, model, graph, before[-1])
    needed, reason = training_needed(root, model)
    say(f"  policy: {'train' if needed else 'no training'}: {reason}")
    if needed:
        touched = [run.stage for run in before if run.touched]
        after = run_graph(
            root, graph, on_stage=start, on_done=done, on_line=echo, only=set(graph) - to_gate, stale=stale,
            touched_before=touched,
        )  # fmt: skip
        if after[-1].state == "failed":
            return _failed(root, model, graph, after[-1])
    return conclude(root, model, graph)


def last_time(root: Path, stage: str) -> str:
    """How long a stage took when it ran last on this machine, for who waits; empty when it never did.

    Args: stage: its address, e.g. ``train@mail``.
    """
    name, model = stage.split("@")
    seconds = journal.seconds(root, model).get(name)
    if seconds is None:
        return ""
    return f" (last time {seconds:.0f} s)" if seconds < 120 else f" (last time {seconds / 60:.0f} min)"


def _failed(root: Path, model: str, graph: Graph, run: StageRun) -> Conclusion:
    found = conclude(root, model, graph)
    if found.outcome in ("halted", "failed"):
        return found
    return Conclusion("failed", run.error, run.exit_code, new=True)


def closing_lines(
    root: Path, model: str, found: Conclusion, ran: Sequence[str] = (), *, report: Path | None = None
) -> list[str]:
    """How it ended and where to look.

    Args: ran: the stages that ran before this end, by name. report: the page, where it is written already.
    """
    nothing = "" if found.new else " (nothing changed since)"
    if ran and not found.new:
        nothing = f" (as decided before; {', '.join(ran)} ran again and changed nothing about it)"
    lines = [f"{model}: {found.outcome}{nothing}: {found.reason}"]
    champion = read_alias(root, model)
    if champion is not None:
        lines.append(f"  in service: {champion.version} ({champion.hash[:12]}) in {champion.bundle}")
    if waits := remote.waiting_line(root, model):
        lines.append(f"  remote:     {waits}")
    lines.append(f"  report:     {report or write(root, model)}")
    if found.outcome == "halted":
        lines.append(f'  next:       look at the report, then finetide approve {model} --why "…", or mend the data')
    if found.outcome == "waiting":
        lines.append(f'  next:       finetide approve {model} --why "…" and run again, or finetide reject {model}')
    return lines
