"""The flow's tasks and edges are DVC's, read back from Prefect's own records, on random graphs too."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.project import run

pytestmark = [pytest.mark.usefixtures("prefect_server"), pytest.mark.filterwarnings("default")]

DVC_GRAPH = """
import json
from dvc.repo import Repo
graph = Repo().index.graph
print(json.dumps({stage.addressing: sorted(up.addressing for up in graph.successors(stage)) for stage in graph.nodes}))
"""


def random_project(folder: Path, seed: int) -> Path:
    """Stages that copy files, wired at random, for one model m."""
    rng = random.Random(seed)
    count = rng.randint(4, 7)
    lines = ["stages:"]
    for index in range(count):
        before = sorted(rng.sample(range(index), rng.randint(0, min(index, 3))))
        deps = [f"s{other}.txt" for other in before] or ["in.txt"]
        lines += [f"  stage{index}:", "    foreach: [m]", "    do:"]
        lines += [f"      cmd: cat {' '.join(deps)} > s{index}.txt", "      deps:"]
        lines += [f"        - {dep}" for dep in deps] + ["      outs:", f"        - s{index}.txt"]
    folder.mkdir()
    (folder / "in.txt").write_text(str(seed))
    (folder / "dvc.yaml").write_text("\n".join(lines) + "\n")
    run(folder, "git", "init", "--quiet")
    run(folder, sys.executable, "-m", "dvc", "init", "--quiet")
    return folder


def dvc_graph(root: Path) -> dict[str, list[str]]:
    done = subprocess.run([sys.executable, "-c", DVC_GRAPH], cwd=root, capture_output=True, text=True, check=True)
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


async def recorded_edges(flow_run_id: Any) -> dict[str, list[str]]:
    """Task run name → names of the task runs that Prefect says it waited for."""
    from prefect import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    async with get_client() as client:
        runs = await client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id])))
    names = {task.id: task.name for task in runs}
    return {
        task.name: sorted(
            {
                names[parent.id]
                for parents in task.task_inputs.values()
                for parent in parents
                if parent.input_type == "task_run"
            }
        )
        for task in runs
    }


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 3))])
def test_tasks_and_edges_are_dvcs(tmp_path: Path, seed: int) -> None:
    import asyncio

    from finetide_flows import retrain
    from prefect import flow
    from prefect.task_runners import ThreadPoolTaskRunner

    from finetide.pipeline.graph import of_model, order, read
    from finetide.pipeline.run import dirty

    root = random_project(tmp_path / "p", seed)
    graph = of_model(read(root), "m")
    assert graph == dvc_graph(root)

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1), persist_result=False)
    def wired() -> Any:
        from prefect.runtime import flow_run

        retrain.submit_stages(root, graph, order(graph), dirty(root, graph), {})
        return flow_run.id

    flow_run_id = wired()
    assert asyncio.run(recorded_edges(flow_run_id)) == graph
    assert dirty(root, graph) == set()
