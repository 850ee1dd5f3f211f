"""The graph as DVC sees it: stage addresses such as ``train@tickets`` and what each of them waits for."""

from __future__ import annotations

import re
from graphlib import TopologicalSorter
from pathlib import Path

from finetide.pipeline.dvc import checked

Graph = dict[str, list[str]]

_EDGE = re.compile(r'^\s*"([^"]+)"(?: -> "([^"]+)")?;\s*$', re.MULTILINE)


def parse_dot(dot: str) -> Graph:
    """DVC's dot text → stage → the stages right before it, both sorted. Files that are no stage stay in."""
    upstream: dict[str, set[str]] = {}
    for before, after in _EDGE.findall(dot):
        upstream.setdefault(before, set())
        if after:
            upstream.setdefault(after, set()).add(before)
    return {stage: sorted(upstream[stage]) for stage in sorted(upstream)}


def read(root: Path) -> Graph:
    """The stages of dvc.yaml, all models; tracked data files (``*.dvc``) are no stages and are left out."""
    graph = parse_dot(checked(root, ["dag", "--dot"]))
    return {
        stage: [before for before in upstream if not before.endswith(".dvc")]
        for stage, upstream in graph.items()
        if not stage.endswith(".dvc")
    }


def of_model(graph: Graph, model: str) -> Graph:
    """The part of one model; an edge from another model's stage stays only if that stage does."""
    mine = {stage for stage in graph if stage.endswith(f"@{model}")}
    return {stage: [before for before in graph[stage] if before in mine] for stage in sorted(mine)}


def order(graph: Graph) -> list[str]:
    """A topological order, the same every time: of those that are ready, the first by name."""
    sorter = TopologicalSorter(graph)
    sorter.prepare()
    ordered: list[str] = []
    ready = sorted(sorter.get_ready())
    while ready:
        stage = ready.pop(0)
        ordered.append(stage)
        sorter.done(stage)
        ready = sorted([*ready, *sorter.get_ready()])
    return ordered


def ancestors(graph: Graph, stage: str) -> set[str]:
    """``stage`` and everything before it."""
    found: set[str] = set()
    waiting = [stage]
    while waiting:
        current = waiting.pop()
        if current not in found:
            found.add(current)
            waiting.extend(graph[current])
    return found
