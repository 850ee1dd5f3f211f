from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from support.forked import Forks
from support.messages import rows, write_csv
from support.once import once
from support.project import environment, micro_project


@pytest.fixture(scope="session")
def starts(tmp_path_factory: pytest.TempPathFactory, forks: Forks) -> dict[str, Path]:
    """Name of a start → folder with the project in ``project`` and what it needs around it."""
    folder = once(tmp_path_factory, "starts", lambda path: _make(path, forks))
    return {name: folder / name for name in ("fresh", "trained", "empty")}


def _make(folder: Path, forks: Forks) -> None:
    fresh, trained, empty = (folder / name for name in ("fresh", "trained", "empty"))
    fresh.mkdir(parents=True)
    shop = write_csv(fresh / "shop.csv", rows(90, "shop", 1))
    airline = write_csv(fresh / "airline.csv", rows(90, "airline", 2))
    root = micro_project(fresh, [shop], [airline])
    (root / "params.yaml").write_text(
        (root / "params.yaml").read_text().replace(f"path:{fresh}/micro-base", "path:../micro-base")
    )
    subprocess.run(["git", "add", "-A"], cwd=root, env=environment(), check=True)
    subprocess.run(["git", "commit", "-qm", "as init wrote it"], cwd=root, env=environment(), check=True)
    shutil.copytree(fresh, trained, symlinks=True)
    ended = forks.call(trained / "project", ["run"], trained / "run.log", environment())
    assert ended.code == 0, ended.output
    empty.mkdir()
    shutil.copytree(fresh / "micro-base", empty / "micro-base")
    for file in (shop, airline):
        shutil.copy(file, empty)
    (empty / "project").mkdir()
