"""What is stopped is the very process that was started, and all of its children; never another one of the same id."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from finetide.contracts.operate import ProcessRecord
from finetide.operate import processes

PARENT = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


def started(tmp_path: Path, code: str) -> ProcessRecord:
    return processes.start([sys.executable, "-c", code], cwd=tmp_path, env=os.environ, log=tmp_path / "log")


def until_said(log: Path, what: str) -> None:
    end = time.monotonic() + 20
    while what not in log.read_text():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_process_and_its_children_are_stopped_once(tmp_path: Path) -> None:
    record = started(tmp_path, f"{PARENT}print('up', flush=True); time.sleep(60)")
    until_said(tmp_path / "log", "up")
    found = processes.find(record)
    assert found is not None
    family = [found, *found.children(recursive=True)]
    assert len(family) == 2
    assert processes.stop(record)
    assert not [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    assert not processes.stop(record)


def test_another_process_of_the_same_id_is_left_alone() -> None:
    mine = psutil.Process()
    other = ProcessRecord(pid=mine.pid, started=mine.create_time() - 60)
    assert processes.find(other) is None
    assert not processes.stop(other)


def test_who_does_not_listen_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "STOP_SECONDS", 0.3)
    record = started(tmp_path, DEAF)
    until_said(tmp_path / "log", "up")
    assert processes.stop(record)
    assert processes.find(record) is None


def test_the_end_of_a_log_is_kept_for_the_error(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert processes.last_lines(log) == "(no log)"
    log.write_text("")
    assert processes.last_lines(log) == "(it said nothing)"
    log.write_text("".join(f"{number}\n" for number in range(40)))
    assert processes.last_lines(log, 2) == "38\n39"
