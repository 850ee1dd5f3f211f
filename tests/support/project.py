"""A project on a micro base, made by ``finetide init`` itself, and the command line in a subprocess."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from finetide.config.ingest import ColumnParams
from finetide.init.project import Wanted, create
from support.micro import micro_base

BIN = Path(sys.executable).parent
MODEL = "mail"


def environment() -> dict[str, str]:
    env = dict(os.environ)
    env.update(
        PATH=f"{BIN}{os.pathsep}{env['PATH']}",
        DVC_NO_ANALYTICS="1",
        HF_HUB_OFFLINE="1",
        GIT_CONFIG_GLOBAL=os.devnull,
        GIT_AUTHOR_NAME="tester",
        GIT_AUTHOR_EMAIL="tester@localhost",
        GIT_COMMITTER_NAME="tester",
        GIT_COMMITTER_EMAIL="tester@localhost",
    )
    return env


def run(root: Path, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Any command inside the project, with this environment's tools first on the path."""
    done = subprocess.run(
        list(command), cwd=root, env=environment(), capture_output=True, text=True, check=False, timeout=2400
    )
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done


def finetide(root: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return run(root, sys.executable, "-m", "finetide", *arguments, check=check)


def edit_params(root: Path, change: Callable[[Any], None], model: str = MODEL) -> None:
    """Let ``change`` edit the model's mapping of params.yaml in place."""
    yaml = YAML()
    yaml.width = 4096
    path = root / "params.yaml"
    document = yaml.load(path.read_text(encoding="utf-8"))
    change(document["models"][model])
    stream = StringIO()
    yaml.dump(document, stream)
    path.write_text(stream.getvalue(), encoding="utf-8")


def quick(params: Any) -> None:
    """Numbers that a micro model is done with in seconds."""
    params["shift"].update(permutations=199, max_rows=200, min_rows=20, harmless_auc=0.86, harmless_drop=None)
    params["train"]["max_length"] = 32
    params["train"]["recipe"] = "off"  # its steps take their time; the calendar has them
    for phase in params["train"]["phases"]:
        if phase["kind"] == "tune":
            phase["duration"].update(epochs=1)
            phase.update(learning_rate=5.0e-4, evaluations_per_epoch=1)
    params["evaluate"]["bootstrap"] = 100
    params["judge"].update(bootstrap=200, min_slice_rows=10, non_inferiority_margin=0.05, slice_margin=0.3)
    params["export"]["int8"] = False
    params["validate"].update(near_duplicate_similarity=1.0)


def micro_project(
    folder: Path, reference: list[Path], incoming: list[Path] | None = None, *, split: bool = True, name: str = MODEL
) -> Path:
    """``finetide init`` on the given files, with a random base of one layer beside it and quick settings."""
    base = folder / "micro-base"
    if not base.exists():
        micro_base(base, layers=1)  # the exporter's time is that of its layers
    root = folder / "project"
    columns = ColumnParams(text="body", label="intent", split="side" if split else None, group=None)
    wanted = Wanted("text-classification", name, tuple(reference), tuple(incoming or ()), columns, str(base), None)
    list(create(root, wanted))
    edit_params(root, quick, name)
    return root
