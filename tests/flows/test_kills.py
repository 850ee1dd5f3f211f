"""The Prefect flow, killed from outside as a real process on a real server; `finetide run` ends what it began."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from faults import template, trial
from faults.trial import Ending
from support.forked import QUIET
from support.project import MODEL, environment, finetide

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server"), pytest.mark.filterwarnings("default")]
REPO = Path(__file__).parents[2]


def start(root: Path) -> subprocess.Popen[bytes]:
    from prefect.settings import PREFECT_API_URL

    env = {**environment(), "PREFECT_API_URL": str(PREFECT_API_URL.value()), **QUIET}
    command = [sys.executable, str(REPO / "flows" / "retrain.py"), MODEL]
    with (root.parent / "flow.log").open("wb") as log:
        return subprocess.Popen(command, cwd=root, env=env, stdout=log, stderr=log, start_new_session=True)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ending, float]:
    """A fresh project, how the flow ends when nobody kills it, and its seconds."""
    folder = tmp_path_factory.mktemp("flow")
    made = template.fresh(folder / "fresh")
    root = trial.copy(made, folder / "undisturbed")
    started = time.monotonic()
    flow = start(root)
    assert flow.wait(600) == 0, (root.parent / "flow.log").read_text()
    return made, trial.ending(root), time.monotonic() - started


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_killed_flow_is_ended_by_a_run(
    number: int, known: tuple[Path, Ending, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in QUIET.items():  # sums on two threads have other last digits
        monkeypatch.setenv(name, value)
    made, expected, seconds = known
    rng = random.Random(number)
    root = trial.copy(made, tmp_path / "t")
    flow = start(root)
    # The first seconds are imports: nothing of the project is touched in them.
    time.sleep(rng.uniform(0.2, 1.0) * seconds)
    family = psutil.Process(flow.pid).children(recursive=True)
    os.kill(flow.pid, 9)
    if number == 3:
        for process in family:
            process.kill()
    flow.wait(60)
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive, "a stage lived on after its flow was gone"
    finetide(root, "run")
    assert trial.ending(root) == expected
    assert trial.leftovers(root) == []
