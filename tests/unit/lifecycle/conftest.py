from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from support.artifacts import PROJECT, Artifacts
from support.registry import MODEL, make_project


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in git, with a ledger still empty, and this repository's graph and params."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    folder = make_project(tmp_path / "project")
    shutil.copy(PROJECT / "dvc.yaml", folder / "dvc.yaml")
    shutil.copy(PROJECT / "params.yaml", folder / "params.yaml")
    return folder


@pytest.fixture
def made(root: Path) -> Artifacts:
    """The outputs of a whole run; the window stays the project's own."""
    found = Artifacts(root, MODEL)
    for stage in (found.ingest, found.quality, found.split, found.shift, found.gate, found.train, found.evaluate):
        stage()
    found.export()
    found.judge()
    return found
