"""The projects that are killed: on a base of one layer, with a few dozen rows, fresh or with a model in service."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

from support.forked import Forks
from support.messages import rows, write_csv
from support.project import MODEL, edit_params, environment, micro_project


def fresh(folder: Path) -> Path:
    """As `finetide init` leaves it. Returns the folder with the project in ``project``."""
    folder.mkdir(parents=True)
    shop = write_csv(folder / "shop.csv", rows(90, "shop", 1))
    root = micro_project(folder, [shop], [write_csv(folder / "airline.csv", rows(90, "airline", 2))])

    def change(params: Any) -> None:
        params["base"]["source"] = "path:../micro-base"  # the project is copied with all around it
        params["train"]["checkpoint_every_steps"] = 2
        params["shift"].update(permutations=119, max_rows=60)
        params["evaluate"]["bootstrap"] = 20
        params["judge"].update(bootstrap=100, floor=0.0, label_floor=0.0)

    edit_params(root, change)
    for arguments in (["add", "-A"], ["commit", "-qm", "as init wrote it"]):
        subprocess.run(["git", *arguments], cwd=root, env=environment(), check=True)
    return folder


def serving(forks: Forks, folder: Path, made: Path) -> Path:
    """A copy of ``made`` that has been run to v1, with a new file dropped since."""
    shutil.copytree(made, folder, symlinks=True)
    root = folder / "project"
    ended = forks.call(root, ["run"], folder / "log", environment())
    assert ended.code == 0, ended.output
    write_csv(root / "data" / MODEL / "raw" / "bank.csv", rows(90, "bank", 3))
    return folder
