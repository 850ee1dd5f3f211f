"""Processes that outlive the command that started them, known by process id and start time, never by name."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from finetide.contracts.operate import ProcessRecord

STOP_SECONDS = 20.0


def start(command: Sequence[str], *, cwd: Path, env: Mapping[str, str], log: Path) -> ProcessRecord:
    """Start ``command`` in a session of its own, so that closing the terminal does not end it. Its output goes to
    ``log``, which begins anew."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as stream:
        process = subprocess.Popen(
            list(command), cwd=cwd, env=dict(env), stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
    try:
        began = psutil.Process(process.pid).create_time()
    except psutil.NoSuchProcess:  # gone at once; whoever waits for it reads why in the log
        began = 0.0
    process.returncode = 0  # it is nobody's child to wait for: silences Popen's warning about a running process
    return ProcessRecord(pid=process.pid, started=began)


def find(record: ProcessRecord | None) -> psutil.Process | None:
    """The very process of the record; None when it ended, also where its id belongs to another one by now."""
    if record is None:
        return None
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(record.pid)
        if abs(process.create_time() - record.started) < 1.0 and process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None


def stop(record: ProcessRecord | None) -> bool:
    """End the recorded process and all that it started: asked first, killed after STOP_SECONDS. False: it was gone."""
    process = find(record)
    if process is None:
        return False
    family = [process]
    with suppress(psutil.NoSuchProcess):
        family += process.children(recursive=True)
    for one in family:
        with suppress(psutil.NoSuchProcess):
            one.terminate()
    _, alive = psutil.wait_procs(family, timeout=STOP_SECONDS)
    for one in alive:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    psutil.wait_procs(alive, timeout=STOP_SECONDS)
    return True


def having(name: str, value: str) -> list[int]:
    """Ids of the processes that were started with the environment variable ``name`` set to ``value``; not our own."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # gone meanwhile, or somebody else's
            if process.pid != os.getpid() and process.environ().get(name) == value:
                found.append(process.pid)
    return sorted(found)


def last_lines(log: Path, count: int = 15) -> str:
    """The end of a log, for an error message; a note when there is none."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return "(no log)"
    return "\n".join(lines[-count:]) or "(it said nothing)"
