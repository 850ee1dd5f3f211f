"""prefect.yaml against a real Prefect server: runs get scheduled, and a worker takes a run to a promoted bundle."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.messages import rows, write_csv
from support.project import BIN, environment, finetide, micro_project

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]
REPOSITORY = Path(__file__).parents[2]
STARTUP_SECONDS = 180
SCHEDULING_SECONDS = 120


def until(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """The first true value of ``condition``, asked every second."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(1)
    raise AssertionError(f"{what}: not within {seconds:.0f} s")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a client of a server of its own, on a free port of the loopback."""
    home = tmp_path_factory.mktemp("server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {**environment(), "PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
    env.pop("PREFECT_API_URL", None)
    # The server asks GitHub for Prefect's list of worker types and has a copy for when it cannot (docs/privacy.md).
    env["HTTPS_PROXY"] = "http://127.0.0.1:9"
    log = (home / "server.log").open("w")
    process = subprocess.Popen(
        [BIN / "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)],
        env=env, stdout=log, stderr=subprocess.STDOUT, cwd=home,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}/api"

    def healthy() -> bool:
        assert process.poll() is None, (home / "server.log").read_text()
        try:
            return bool(urllib.request.urlopen(f"{address}/health", timeout=5).status == 200)
        except (urllib.error.URLError, OSError):
            return False

    try:
        until(healthy, STARTUP_SECONDS, "the Prefect server")
        yield {**env, "PREFECT_API_URL": address}
    finally:
        process.terminate()
        process.wait(30)
        log.close()


def prefect(cwd: Path, env: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [str(BIN / "prefect"), "--no-prompt", *arguments],
        cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def flow_runs(env: dict[str, str], deployment: str) -> dict[str, list[str]]:
    """State type → start times asked for, of a deployment's runs."""
    script = (
        "import asyncio, sys\n"
        "from prefect import get_client\n"
        "from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName\n"
        "async def main():\n"
        "    async with get_client() as client:\n"
        "        wanted = DeploymentFilter(name=DeploymentFilterName(any_=[sys.argv[1]]))\n"
        "        for run in await client.read_flow_runs(deployment_filter=wanted):\n"
        "            print(run.state.type.value, run.expected_start_time.isoformat())\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, deployment], env=env, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        state, _, start = line.partition(" ")
        found.setdefault(state, []).append(start)
    return found


def scheduled(env: dict[str, str], deployment: str) -> list[str]:
    found: list[str] = until(
        lambda: flow_runs(env, deployment).get("SCHEDULED"), SCHEDULING_SECONDS, f"scheduled runs of {deployment}"
    )
    return found


def test_this_repository_is_scheduled(server: dict[str, str], tmp_path: Path) -> None:
    for name in ("prefect.yaml", "params.yaml", "dvc.yaml"):
        shutil.copy(REPOSITORY / name, tmp_path / name)
    shutil.copytree(REPOSITORY / "flows", tmp_path / "flows")
    prefect(tmp_path, server, "work-pool", "create", "finetide", "--type", "process", "--overwrite")
    assert "successfully created" in prefect(tmp_path, server, "deploy", "--all")
    starts = scheduled(server, "retrain-tickets")
    # 03:15 in Berlin, which is 01:15 or 02:15 in UTC by the time of year.
    assert all(start[11:16] in {"01:15", "02:15"} for start in starts), starts


def test_project_of_a_user_is_scheduled_and_run_by_a_worker(server: dict[str, str], tmp_path: Path) -> None:
    shop = write_csv(tmp_path / "shop.csv", rows(150, "shop", 1))
    airline = write_csv(tmp_path / "airline.csv", rows(120, "airline", 2))
    root = micro_project(tmp_path, [shop], [airline])
    prefect(root, server, "work-pool", "create", "finetide", "--type", "process", "--overwrite")
    prefect(root, server, "deploy", "--all")
    assert all(start[11:16] == "03:15" for start in scheduled(server, "retrain-mail"))
    prefect(root, server, "deployment", "run", "retrain/retrain-mail")
    prefect(root, server, "worker", "start", "--pool", "finetide", "--run-once")
    ended = until(lambda: flow_runs(server, "retrain-mail").get("COMPLETED"), 300, "the worker's run")
    assert len(ended) == 1
    assert "promoted" in finetide(root, "status").stdout
