from __future__ import annotations

import random
from graphlib import TopologicalSorter

from finetide.pipeline.graph import ancestors, of_model, order, parse_dot

DOT = """strict digraph  {
"ingest@a";
"validate@a";
"ingest@b";
"data/a/raw/x.csv.dvc";
"ingest@a" -> "validate@a";
}
"""


def test_dot_becomes_upstreams() -> None:
    assert parse_dot(DOT) == {
        "data/a/raw/x.csv.dvc": [],
        "ingest@a": [],
        "ingest@b": [],
        "validate@a": ["ingest@a"],
    }


def test_one_models_part() -> None:
    assert of_model(parse_dot(DOT), "a") == {"ingest@a": [], "validate@a": ["ingest@a"]}


def test_order_is_topological_and_the_same_every_time() -> None:
    for seed in range(50):
        rng = random.Random(seed)
        names = [f"s{index:02}" for index in range(rng.randint(1, 14))]
        graph = {
            name: sorted(rng.sample(names[:index], rng.randint(0, min(index, 3)))) for index, name in enumerate(names)
        }
        shuffled = dict(rng.sample(list(graph.items()), len(graph)))
        found = order(shuffled)
        assert sorted(found) == names
        assert found == order(graph)
        for name, before in graph.items():
            assert all(found.index(other) < found.index(name) for other in before)
        assert set(TopologicalSorter(graph).static_order()) == set(found)


def test_ancestors_hold_the_stage_itself() -> None:
    graph = {"a": [], "b": ["a"], "c": ["b"], "d": ["a"]}
    assert ancestors(graph, "c") == {"a", "b", "c"}
