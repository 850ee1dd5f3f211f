"""What a change of code makes stale, by `dvc status`: in a copy of this repository, and in a project of a user's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from support.messages import rows, write_csv
from support.micro import micro_base
from support.project import MODEL, edit_params, environment, micro_project, quick

pytestmark = pytest.mark.slow
REPOSITORY = Path(__file__).parents[2]
AFTER_TRAINING = {"train", "evaluate", "export", "judge"}


def working_tree(folder: Path) -> Path:
    """A copy of what git tracks here, as a repository of its own."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (REPOSITORY / name).exists():
            shutil.copy2(REPOSITORY / name, target)
    with_code(folder, folder, "git", "init", "--quiet")
    with_code(folder, folder, "git", "add", "--all")
    with_code(folder, folder, "git", "commit", "--quiet", "--message", "copy")
    return folder


def path_to(code: Path) -> str:
    return os.pathsep.join(filter(None, [str(code / "src"), os.environ.get("PYTHONPATH")]))


def with_code(code: Path, cwd: Path, *command: str) -> str:
    """Run a command with the package of the copy ``code``."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**environment(), "PYTHONPATH": path_to(code), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def changed(code: Path, root: Path) -> set[str]:
    """Names of the stages whose own inputs `dvc status` calls changed, once `finetide check` has looked at the code."""
    with_code(code, root, sys.executable, "-m", "finetide", "check")
    found: dict[str, Any] = json.loads(with_code(code, root, sys.executable, "-m", "dvc", "status", "--json"))
    return {name.partition("@")[0] for name in found if "@" in name}


def stale(code: Path, root: Path) -> set[str]:
    """Those and what follows them, as `finetide status` has it."""
    found = json.loads(with_code(code, root, sys.executable, "-m", "finetide", "status", "--json"))["models"]
    return {name for model in found.values() for name, stage in model["stages"].items() if stage["state"] == "stale"}


def outputs(root: Path) -> dict[str, str]:
    lock: Any = YAML(typ="safe").load((root / "dvc.lock").read_text())
    return {out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage["outs"]}


def edit(file: Path) -> None:
    """A change that a reader sees and that changes no behaviour: the hash is of the code, comments left in."""
    text = file.read_text(encoding="utf-8")
    file.write_text(f"{text}\nEDITED_BY_A_TEST = True\n", encoding="utf-8")


def check_edits(code: Path, root: Path) -> None:
    assert changed(code, root) == stale(code, root) == set()
    edit(code / "src" / "finetide" / "cli" / "life.py")
    edit(code / "src" / "finetide" / "report" / "page.py")
    assert changed(code, root) == stale(code, root) == set()
    edit(code / "src" / "finetide" / "engine" / "loop.py")
    assert changed(code, root) == {"train"}
    assert stale(code, root) == AFTER_TRAINING


def small_tickets(tree: Path, base: Path) -> Path:
    """This repository's own model on a micro base and quick settings."""
    sha256 = micro_base(base)

    def change(params: Any) -> None:
        params["base"].update(source=f"path:{base}", revision=None, sha256=sha256)
        quick(params)
        params["judge"].update(floor=0.0, label_floor=0.0)

    edit_params(tree, change, "tickets")
    return tree


def test_root_project_with_and_without_flows_and_after_edits(tmp_path: Path) -> None:
    flowing = small_tickets(working_tree(tmp_path / "flowing"), tmp_path / "base")
    plain = small_tickets(working_tree(tmp_path / "plain"), tmp_path / "base")
    shutil.rmtree(plain / "flows")
    flow = subprocess.run(
        [sys.executable, "flows/retrain.py"],
        cwd=flowing,
        env={**environment(), "PYTHONPATH": path_to(flowing)},
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )
    assert flow.returncode == 0, flow.stdout + flow.stderr
    assert "promoted" in flow.stdout
    with_code(plain, plain, sys.executable, "-m", "finetide", "check")
    with_code(plain, plain, sys.executable, "-m", "dvc", "pull", "--quiet", "data/tickets/raw/shop.csv.dvc",
              "data/tickets/raw/airline.csv.dvc")  # fmt: skip
    with_code(plain, plain, sys.executable, "-m", "dvc", "repro")
    assert len(outputs(plain)) > 15
    assert outputs(plain) == outputs(flowing)
    check_edits(plain, plain)


def test_project_of_a_user_after_edits(tmp_path: Path) -> None:
    code = working_tree(tmp_path / "code")
    shutil.rmtree(code / "flows")
    data = [write_csv(tmp_path / "shop.csv", rows(150, "shop", 1))]
    data.append(write_csv(tmp_path / "airline.csv", rows(120, "airline", 2)))
    root = micro_project(tmp_path, data[:1], data[1:])
    with_code(code, root, sys.executable, "-m", "finetide", "run", MODEL)
    check_edits(code, root)
