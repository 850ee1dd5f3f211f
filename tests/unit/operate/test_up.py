"""`finetide up` where it must not begin, or what it began dies. The whole of it runs in tests/flows/test_up.py."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from finetide.contracts.operate import ProcessRecord, Running, Waiting
from finetide.errors import InputError, IntegrityError, ProjectError, ToolError
from finetide.lifecycle import waiting
from finetide.operate import environment, processes, resume, up
from support.artifacts import PROJECT
from support.registry import MODEL, git, make_project

GONE = ProcessRecord(pid=2**22 + 1, started=1.0)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    folder = make_project(tmp_path / "project")
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(PROJECT / name, folder / name)
    git(folder, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qam", "params")
    return folder


def taken() -> socket.socket:
    held = socket.socket()
    held.bind(("127.0.0.1", 0))
    held.listen()
    return held


def test_a_taken_port_is_an_error_and_nothing_was_started(root: Path) -> None:
    with taken() as held, pytest.raises(InputError) as caught:
        up.up(root, held.getsockname()[1], lambda _: None)
    assert "--port: is taken by another program" in str(caught.value)
    assert up.read(root) is None


def test_without_a_port_that_of_the_last_time_is_taken_again(root: Path) -> None:
    with taken() as held:
        port = held.getsockname()[1]
        before = Running(api=f"http://127.0.0.1:{port}/api", pool=up.POOL, server=None, worker=None, deployed=None)
        assert up._choose_port(None, before) != port
    assert up._choose_port(None, before) == port


def test_without_a_commit_there_is_nothing_to_schedule(tmp_path: Path) -> None:
    root = make_project(tmp_path / "project", commit=False)
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(PROJECT / name, root / name)
    with pytest.raises(ProjectError) as caught:
        up.up(root, None, lambda _: None)
    assert "has no commit yet, and scheduled runs work on what is committed" in str(caught.value)
    assert "git add -A && git commit" in str(caught.value)


def test_edits_that_are_not_committed_are_named(root: Path) -> None:
    (root / "params.yaml").write_text((root / "params.yaml").read_text() + "\n")
    said: list[str] = []
    up._check_commit(root, said.append)
    assert said == ["note:        not committed, so scheduled runs do not see it: params.yaml"]


def test_a_server_that_dies_is_told_by_its_last_words(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = processes.start

    def dies(command: Any, **kwargs: Any) -> ProcessRecord:
        return real([sys.executable, "-c", "print('no such table: flow_run'); raise SystemExit(1)"], **kwargs)

    monkeypatch.setattr(processes, "start", dies)
    with pytest.raises(ToolError) as caught:
        up.up(root, None, lambda _: None)
    assert "the server died; the end of its log:\nno such table: flow_run" in str(caught.value)
    assert str(caught.value).startswith(".finetide/prefect/server.log: ")
    assert str(caught.value).endswith("fix: finetide down, mend what the log names, then finetide up")


def test_a_server_of_others_is_used_and_never_started(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    with pytest.raises(InputError, match="PREFECT_API_URL names a server already"):
        up.up(root, 4300, lambda _: None)
    monkeypatch.setattr(up.sys, "executable", "/bin/false")
    with pytest.raises(ToolError, match="the deployments were not made"):
        up.up(root, None, lambda _: None)
    state = up._server(root, None, None, lambda _: None, sealed=True)
    assert (state.server, state.api) == (None, "http://127.0.0.1:1/api")
    assert state.pool.startswith("finetide-project-")


def test_another_server_is_refused_while_one_is_up(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    mine = ProcessRecord(pid=psutil.Process().pid, started=psutil.Process().create_time())
    up.write(root, Running(api="http://127.0.0.1:4/api", pool=up.POOL, server=mine, worker=None, deployed=None))
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:5/api")
    with pytest.raises(InputError, match="PREFECT_API_URL says otherwise"):
        up.up(root, None, lambda _: None)


def test_a_server_begins_anew_once_notices_have_to_leave_the_machine(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psutil

    mine = ProcessRecord(pid=psutil.Process().pid, started=psutil.Process().create_time())
    before = Running(api="http://127.0.0.1:4/api", pool=up.POOL, server=mine, worker=None, deployed="d", sealed=True)
    stopped: list[Any] = []
    begun: list[Any] = []

    def start(command: Any, **kwargs: Any) -> ProcessRecord:
        begun.append(kwargs["env"].get("HTTPS_PROXY"))
        return GONE

    monkeypatch.delenv("HTTPS_PROXY", raising=False)
    monkeypatch.setattr(up, "_is_healthy", lambda api: True)
    monkeypatch.setattr(up, "ask", lambda api, path, body=None: [])
    monkeypatch.setattr(processes, "stop", stopped.append)
    monkeypatch.setattr(processes, "start", start)
    said: list[str] = []
    assert up._server(root, before, None, said.append, sealed=True) == before
    state = up._server(root, before, None, said.append, sealed=False)
    assert (stopped, begun, state.sealed, state.server) == ([mine], [None], False, GONE)
    up._server(root, state.model_copy(update={"server": mine}), None, said.append, sealed=True)
    assert begun == [None, "http://127.0.0.1:9"]
    assert "server:      begins anew, because notices now leave this machine" in said
    assert "server:      begins anew, because notices no longer leave this machine" in said


def test_down_where_nothing_is_up(root: Path) -> None:
    said: list[str] = []
    up.down(root, said.append)
    up.write(root, Running(api="x", pool=up.POOL, server=GONE, worker=GONE, deployed="d"))
    up.down(root, said.append)
    assert said == ["nothing is up", "nothing is up"]
    left = up.read(root)
    assert left is not None
    assert (left.server, left.worker, left.deployed) == (None, None, "d")


def test_a_torn_record_counts_as_none(root: Path) -> None:
    path = environment.folder(root) / "up.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"api": ')
    assert up.read(root) is None
    said: list[str] = []
    up.down(root, said.append)
    assert said == ["nothing is up"]


def test_a_torn_record_of_something_that_runs_is_an_error_that_names_it(root: Path) -> None:
    folder = environment.folder(root)
    folder.mkdir(parents=True)
    (folder / "up.json").write_text('{"api": ')
    command = [sys.executable, "-c", "input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env={**os.environ, "PREFECT_HOME": str(folder)}) as running:
        try:
            for act in (lambda: up.up(root, None, print), lambda: up.down(root, print)):
                with pytest.raises(IntegrityError) as caught:
                    act()
                assert str(caught.value) == (
                    f"{folder}/up.json: is torn, and what it stood for is running, as process {running.pid}\n"
                    f"  fix: kill {running.pid}; delete the file; finetide up"
                )
            assert running.poll() is None
        finally:
            running.kill()


def test_the_servers_database_is_the_projects_and_nobody_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_HOME", "/elsewhere")
    monkeypatch.setenv("PREFECT_API_URL", "http://elsewhere/api")
    env = environment.of_server(root, "http://127.0.0.1:4711/api", sealed=True)
    assert env["PREFECT_HOME"] == str(root / ".finetide" / "prefect")
    assert "PREFECT_API_URL" not in env
    assert env["PREFECT_SERVER_UI_API_URL"] == "http://127.0.0.1:4711/api"
    assert (env["PREFECT_SERVER_ANALYTICS_ENABLED"], env["DO_NOT_TRACK"]) == ("false", "1")
    # A server that is killed must know its leases again.
    assert env["PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"].endswith("lease_storage.filesystem")


def test_a_decision_reaches_the_waiting_run_or_says_that_it_does_not(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert resume.resume(root, MODEL, "approved", "why", "ann") == "no run waits for this decision"
    waiting.write(
        root, Waiting(model=MODEL, verdict_hash="a" * 64, reason="halt", flow_run="7", api="http://127.0.0.1:1/api")
    )
    monkeypatch.setattr(resume, "TRIES", (0.0, 0.0))
    told = resume.resume(root, MODEL, "approved", "expected", "ann")
    assert told.startswith("the waiting run could not be told (http://127.0.0.1:1/api does not answer")
    asked: list[Any] = []

    def answer(*call: Any, **_: Any) -> Any:
        asked.append(call)
        return {"status": "ACCEPT"} if len(asked) == 2 else None  # busy at first

    monkeypatch.setattr(resume, "ask", answer)
    assert resume.resume(root, MODEL, "rejected", "no", "ann").startswith(
        "the waiting run goes on: http://127.0.0.1:1/"
    )
    form = {"decision": "reject", "who": "ann", "why": "no"}
    assert asked == [("http://127.0.0.1:1/api", "/flow_runs/7/resume", {"run_input": form})] * 2
    assert json.dumps(form)
