"""`finetide up` on a real Postgres: what the server was told outlives the server, and nobody reads the password."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from finetide.operate import database, processes, up
from support.artifacts import PROJECT
from support.postgres import ESCAPED, PASSWORD, Postgres, binaries, postgres
from support.project import environment
from support.registry import git, make_project

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(binaries() is None, reason="no `postgres` on this machine (apt install postgresql)"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    folder = binaries()
    assert folder is not None
    with postgres(folder) as found:
        yield found


def project(folder: Path) -> Path:
    root = make_project(folder)
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(PROJECT / name, root / name)
    git(root, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qam", "params")
    return root


def finetide(root: Path, *words: str, url: str | None) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in environment().items() if not name.startswith("PREFECT_")}
    if url is not None:
        env[database.NAME] = url
    command = [sys.executable, "-m", "finetide", *words]
    return subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=False, timeout=400)


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def test_up_down_up_keeps_what_the_server_was_told(server: Postgres, tmp_path: Path) -> None:
    root = project(tmp_path / "project")
    shown = f"postgresql://tide@127.0.0.1:{server.port}/prefect"
    try:
        first = finetide(root, "up", "--port", free_port(), url=server.url())
        assert first.returncode == 0, first.stdout + first.stderr
        assert f"; state in {shown}" in first.stdout
        told = server.sql("SELECT id, name FROM deployment ORDER BY name", database="prefect")
        assert [line.partition("|")[2] for line in told.splitlines()] == ["monitor-tickets", "retrain-tickets"]
        assert not (root / ".finetide" / "prefect" / "prefect.db").exists()
        record = up.read(root)
        assert record is not None
        assert record.database == shown
        # Another address while it is up: refused, and nothing was stopped.
        other = finetide(root, "up", url=None)
        assert other.returncode == 2
        assert f"the server of this project keeps its state in {shown}" in other.stderr
        assert processes.find(record.server)
        # A second project is kept from this one's deployments.
        neighbour = project(tmp_path / "neighbour")
        refused = finetide(neighbour, "up", "--port", free_port(), url=server.url())
        assert refused.returncode == 2, refused.stdout + refused.stderr
        assert f"another project is at work on this database (found '{root}')" in refused.stderr
        theirs = up.read(neighbour)
        assert theirs is not None
        assert theirs.server is None
        assert finetide(root, "down", url=None).returncode == 0  # needs no database
        assert processes.find(record.server) is None
        again = finetide(root, "up", url=server.url())
        assert again.returncode == 0, again.stdout + again.stderr
        assert "deployments: as before, of tickets" in again.stdout
        assert server.sql("SELECT id, name FROM deployment ORDER BY name", database="prefect") == told
        # The database began anew: what stands in up.json is not believed.
        assert finetide(root, "down", url=None).returncode == 0
        server.sql("DROP DATABASE prefect WITH (FORCE)", "CREATE DATABASE prefect")
        anew = finetide(root, "up", url=server.url())
        assert anew.returncode == 0, anew.stdout + anew.stderr
        assert "deployment:  retrain-tickets: " in anew.stdout
        everything = first.stdout + first.stderr + other.stderr + refused.stderr + again.stdout + anew.stdout
        for path in (root / ".finetide").rglob("*"):
            everything += path.read_text(errors="replace") if path.is_file() else ""
        assert not [part for part in (PASSWORD, ESCAPED, "s3cret") if part in everything]
    finally:
        for folder in (root, tmp_path / "neighbour"):
            if folder.exists():
                finetide(folder, "down", url=None)


def test_a_wrong_password_ends_at_once_and_starts_nothing(server: Postgres, tmp_path: Path) -> None:
    root = project(tmp_path / "project")
    said = finetide(root, "up", url=server.url(password="s3cret"))
    assert said.returncode == 5
    assert "refuses this user with this password" in said.stderr
    assert "s3cret" not in said.stdout + said.stderr
    assert up.read(root) is None
    assert os.listdir(root / ".finetide" / "prefect") == ["up.flock"]
