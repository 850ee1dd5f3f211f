"""What forked processes cannot show: the Makefile, limits of a real process, a terminal that has no ✓."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bad_input.cause import tree
from support.project import MODEL, environment

ROOT = Path(__file__).parents[2]


def make(folder: Path, python: str) -> subprocess.CompletedProcess[str]:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    command = ["make", "setup", f"PYTHON={python}"]
    return subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)


def test_a_python_that_is_too_old(tmp_path: Path) -> None:
    old = tmp_path / "python3.10"
    old.write_text('#!/bin/sh\ncase "$1" in --version) echo Python 3.10.9;; *) exit 1;; esac\n')
    old.chmod(0o755)
    done = make(tmp_path, str(old))
    assert done.returncode == 2
    said = "Finetide needs Python >= 3.11; found: Python 3.10.9. Use: make PYTHON=python3.11"
    assert said in done.stdout + done.stderr
    assert not (tmp_path / ".venv").exists()


def test_a_python_that_is_not_there(tmp_path: Path) -> None:
    done = make(tmp_path, "python3.99")
    assert done.returncode == 2
    assert "Finetide needs Python >= 3.11" in done.stdout + done.stderr
    assert "python3.99" in done.stdout + done.stderr
    assert not (tmp_path / ".venv").exists()


def finetide(root: Path, *words: str, before: str = "", **variables: str) -> subprocess.CompletedProcess[bytes]:
    command = f'{before} exec "$0" -m finetide "$@"'
    env = {**environment(), **variables}
    return subprocess.run(
        ["sh", "-c", command, sys.executable, *words], cwd=root, env=env, capture_output=True, check=False
    )


@pytest.fixture
def project(starts: dict[str, Path], tmp_path: Path) -> Path:
    shutil.copytree(starts["fresh"], tmp_path / "f", symlinks=True)
    return tmp_path / "f" / "project"


def test_a_limit_on_file_sizes(project: Path) -> None:
    new = project.parent / "week-47.csv"
    rows = "".join(f"where is parcel number {number},delivery,train\n" for number in range(4000))
    new.write_text("body,intent,side\n" + rows)
    before = tree(project)
    done = finetide(project, "advance", MODEL, str(new), before="ulimit -f 64;")
    said = done.stderr.decode()
    assert done.returncode == 7, said
    assert "Traceback" not in said
    assert "file too large" in said
    assert f"{project}/data/{MODEL}/raw" in said
    assert "fix: raise the limit on file sizes (`ulimit -f`)" in said
    assert tree(project) == before


@pytest.mark.slow
def test_a_terminal_without_our_signs(project: Path) -> None:
    done = finetide(project, "check", PYTHONIOENCODING="latin-1")
    assert done.returncode == 0, done.stderr
    assert b"? params.yaml: 1 model(s): mail" in done.stdout


def test_python_without_the_package_dvc(project: Path) -> None:
    """A broken installation: the package is there and cannot be imported."""
    broken = project.parent / "broken" / "dvc"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("")
    (broken / "__main__.py").write_text("raise ImportError('no module named pathspec')\n")
    path = os.pathsep.join([str(broken.parent), os.environ.get("PYTHONPATH", "")])
    before = tree(project)
    done = finetide(project, "status", PYTHONPATH=path)
    said = done.stderr.decode()
    assert done.returncode == 5, said
    assert "`dvc dag --dot` failed" in said
    assert "no module named pathspec" in said
    assert tree(project) == before
