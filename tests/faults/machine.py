"""A machine as `finetide up` makes it, for kills of scheduled runs: server, worker, deployments, one model in service.

Server and worker are real processes, the flows are forked (`support.flow_forks`). Its schedule is silent: only
`Machine.start_run` starts a run. Between two trials the project goes back to where it was; server and worker stay up.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil

from faults import template
from finetide.contracts.operate import Running
from finetide.lifecycle.isolate import worktree_path
from finetide.operate import api, environment, processes, up
from support.flow_forks import FlowForks
from support.messages import rows, write_csv
from support.project import MODEL, edit_params, run
from support.project import environment as of_project

FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
TRAINING = f"{up.POOL}-training"
DROPPED = "bank.csv"
# A run that the server believes to be in this state, without a process for so long, is dead.
GONE_SECONDS = {"RUNNING": 8.0, "CANCELLING": 20.0, "PENDING": 25.0}
# What only the harness has, and what the worker looks for hooks with after a crash or a cancellation.
NOT_OF_A_RUN = ("gone", "zygote", "hook")
PATIENCE_SECONDS = 900.0


@dataclass
class Machine:
    """``home``: the project. ``forks``: where its flows come from. ``snapshot``: the project with v1 in service."""

    folder: Path
    home: Path
    forks: FlowForks
    port: int
    deployment: str = ""
    snapshot: Path = field(init=False)

    def __post_init__(self) -> None:
        self.snapshot = self.folder / "snapshot"

    @property
    def worktree(self) -> Path:
        return worktree_path(self.home, MODEL)

    @property
    def drop(self) -> Path:
        return self.home / "drop" / MODEL

    @property
    def running(self) -> Running:
        found = up.read(self.home)
        assert found is not None
        return found

    def up(self) -> None:
        """`finetide up`: what whoever watches over the machine does, again where it was too busy to answer in time."""
        for attempt in range(3):
            try:
                self._command("up", *(["--port", str(self.port)] if up.read(self.home) is None else []))
            except AssertionError:
                if attempt == 2:
                    raise
            else:
                return

    def down(self) -> None:
        self._command("down")

    def _command(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "finetide", *arguments], cwd=self.home, env=self.forks.env, capture_output=True,
            text=True, check=False, timeout=600,
        )  # fmt: skip
        if done.returncode != 0:
            raise AssertionError(f"finetide {arguments[0]} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def ask(self, path: str, body: object | None = None) -> Any:
        """Asked again where the server is busy: SQLite has one writer at a time."""
        for _ in range(20):
            if (answer := api.ask(self.running.api, path, body, seconds=30)) is not None:
                return answer
            time.sleep(1)
        raise AssertionError(f"{path}: no answer; {processes.last_lines(self.home / '.finetide/prefect/server.log')}")

    def start_run(self) -> str:
        made = self.ask(f"/deployments/{self.deployment}/create_flow_run", {"state": {"type": "SCHEDULED"}})
        return str(made["id"])

    def state(self, flow_run: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ask(f"/flow_runs/{flow_run}")["state"]
        return found

    def set_state(self, flow_run: str, word: str, message: str) -> None:
        state = {"type": word, "name": word.title(), "message": message}
        self.ask(f"/flow_runs/{flow_run}/set_state", {"state": state, "force": word == "CRASHED"})

    def until_ended(self, flow_run: str, seconds: float = PATIENCE_SECONDS) -> dict[str, Any] | None:
        """The last state of a run; None once the server believes it at work, and it has no process."""
        end, gone = time.monotonic() + seconds, 0.0
        while time.monotonic() < end:
            state = self.state(flow_run)
            if state["type"] in FINAL:
                return state
            dead = state["type"] in GONE_SECONDS and flow_run not in self.forks.at_work()
            gone = (gone or time.monotonic()) if dead else 0.0
            if dead and time.monotonic() > gone + GONE_SECONDS[state["type"]]:
                return None
            time.sleep(0.3)
        raise TimeoutError(f"after {seconds:.0f} s it is {state['type']} {state['name']}: {state['message']}")

    def completed_stages(self, flow_run: str) -> set[str]:
        """Those whose tasks the server knows as completed."""
        wanted = {"flow_runs": {"id": {"any_": [flow_run]}}, "task_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}
        return {one["name"].split("@")[0] for one in self.ask("/task_runs/filter", wanted) or [] if "@" in one["name"]}

    def said(self, flow_run: str, word: str) -> list[str]:
        """What a run logged with that word in it."""
        wanted = {"logs": {"flow_run_id": {"any_": [flow_run]}}, "limit": 200, "sort": "TIMESTAMP_ASC"}
        found = self.ask("/logs/filter", wanted)
        return [one["message"] for one in (found if isinstance(found, list) else []) if word in one["message"]]

    def slots(self) -> dict[str, int]:
        """How many are taken: of trainings on this machine, of runs of the deployment."""
        training = self.ask(f"/v2/concurrency_limits/{TRAINING}")
        own = self.ask(f"/deployments/{self.deployment}")["global_concurrency_limit"]
        return {"training": training["active_slots"], "deployment": own["active_slots"]}

    def free_training(self) -> None:
        """What the server does by itself once the lease of a dead holder has run out."""
        limit = self.ask(f"/v2/concurrency_limits/{TRAINING}")["id"]
        for path in (environment.folder(self.home) / "concurrency_leases").glob("*-*.json"):
            with suppress(FileNotFoundError, ValueError):
                if limit in json.loads(path.read_text())["resource_ids"]:
                    self.ask("/v2/concurrency_limits/decrement-with-lease", {"lease_id": path.stem})

    def family(self) -> list[psutil.Process]:
        """The processes of the run at work, the flow first and the deepest last."""
        return [one for one in self.forks.family() if role(one) not in NOT_OF_A_RUN]

    def calm(self) -> None:
        """Server and worker are up and nothing is at work: what a trial that went wrong left would disturb the next."""
        running = self.running
        if processes.find(running.server) is None or processes.find(running.worker) is None:
            self.up()
        wanted = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED", "PENDING", "RUNNING", "CANCELLING"]}}}}
        for one in self.ask("/flow_runs/filter", wanted) or []:
            self.set_state(str(one["id"]), "CRASHED", "left by the trial before")
        kill(self.forks.family())
        self.free_training()

    def restore(self) -> None:
        """The project as it was before the first trial, at the same path; what Prefect keeps there stays."""
        for path in [*self.home.iterdir(), *(self.home / ".finetide").iterdir()]:
            if path.name in (".finetide", "prefect"):
                continue
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        shutil.copytree(self.snapshot, self.home, symlinks=True, dirs_exist_ok=True)

    def drop_file(self) -> None:
        shutil.copy(self.folder / DROPPED, self.drop / f"{DROPPED}.part")
        (self.drop / f"{DROPPED}.part").rename(self.drop / DROPPED)

    def locked(self) -> list[str]:
        """Locks of ours that somebody holds."""
        found = []
        for path in [*self.home.rglob("*.flock"), *self.home.glob("serving/*/.lock")]:
            if "prefect" in path.relative_to(self.home).parts:
                continue
            with path.open("a") as stream:
                try:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    found.append(path.relative_to(self.home).as_posix())
        return found


@contextmanager
def machine(folder: Path) -> Iterator[Machine]:
    """Up, and down again at the end. Made in ``folder``, or as it was left there."""
    home, snapshot = folder / "made" / "project", folder / "snapshot"
    known = snapshot.exists()
    if not known:
        shutil.rmtree(folder, ignore_errors=True)
        template.fresh(folder / "made")
        edit_params(home, lambda params: _silent(params, home.parent / "micro-base"))
        write_csv(folder / DROPPED, rows(90, "bank", 3))
    before = up.read(home)
    port = int(before.api.rpartition(":")[2].partition("/")[0]) if before else _free_port()
    address = f"http://127.0.0.1:{port}/api"
    own = {name: value for name, value in of_project().items() if not name.startswith("PREFECT_")}
    # The worker asks every ten seconds else: a time in which nothing would be killed.
    env = {**own, **environment.defaults(home), "PREFECT_API_URL": address, "PREFECT_WORKER_QUERY_SECONDS": "1"}
    with FlowForks(home, folder / "forks", env, ["faults.points", "faults.full"]) as forks:
        del forks.env["PREFECT_API_URL"]  # `up` would take it for somebody else's server
        found = Machine(folder, home, forks, port)
        if not known:
            commit(home, "as init wrote it")
            ended = forks.finetide("run", seconds=900)
            assert ended.code == 0, ended.output
            commit(home, "v1")
            shutil.copytree(home, folder / "copy", symlinks=True)
        try:
            found.up()
            if not known:  # whole, or not there
                (folder / "copy" / "drop" / MODEL).mkdir(parents=True)
                (folder / "copy").rename(snapshot)
            found.deployment = str(found.ask(f"/deployments/name/retrain/retrain-{MODEL}")["id"])
            yield found
        finally:
            found.down()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _silent(params: Any, base: Path) -> None:
    params["base"]["source"] = f"path:{base}"  # the worktree, which lies elsewhere, reads it too
    params["schedule"].update(quiet_seconds=0.3)
    params["schedule"]["retrain"].update(cron=None)
    params["schedule"]["monitor"].update(every_minutes=None)


def commit(home: Path, message: str) -> None:
    run(home, "git", "add", "-A")
    run(home, "git", "commit", "-qm", message)


def role(process: psutil.Process) -> str:
    """What it is: flow, dvc, a stage's name, …"""
    with suppress(psutil.NoSuchProcess):
        if process.status() != psutil.STATUS_ZOMBIE:
            return str(process.name()).removeprefix("ft-")
    return "gone"


def kill(family: list[psutil.Process]) -> list[str]:
    """SIGKILL; returns what they were."""
    killed = [role(process) for process in family]
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    return killed


class Watch:
    """Reads the alias, again and again, as a server does. ``seen``: the hashes that were in service, in order."""

    def __init__(self, alias: Path) -> None:
        self.seen: list[str] = []
        self.wrong: list[str] = []
        self._alias = alias
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        while not self._stop.wait(0.02):
            try:
                found = json.loads(self._alias.read_text(encoding="utf-8"))["hash"]
            except (OSError, ValueError) as error:
                self.wrong.append(f"the alias could not be read: {error!r}")
                return
            if found not in self.seen[-1:]:
                self.seen.append(found)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
