"""Flow runs of a real Prefect worker in forked processes, where each would import everything anew for 45 seconds.

The worker is told that its Python is a small script, the shim (support/guard does that). The shim asks the process of
`FlowForks` for a fork that does what Python would have done, passes SIGTERM on, lives as long as the fork, and ends as
it ended. Dies the shim, its fork is killed; so both count as one process. A flow has threads of Prefect, and to fork
from it is not safe: a zygote, made before there were any, forks DVC for it (`support.forked` the rest).
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import runpy
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil
from tqdm import tqdm

from support import forked
from support.forked import Ended

SOCKET, SHIM = "FT_FLOWS", "FT_FLOW_SHIM"
SHIM_LINES = """#!{python} -SE
import json, os, signal, socket, sys
asked = socket.socket(socket.AF_UNIX)
asked.connect(os.environ["FT_FLOWS"])
signal.signal(signal.SIGTERM, lambda *_: asked.sendall(b"T"))
question = {{"arguments": sys.argv[1:], "env": dict(os.environ), "cwd": os.getcwd()}}
asked.sendall(json.dumps(question).encode() + b"\\n")
said = asked.makefile().readline()
code = json.loads(said)["code"] if said else -signal.SIGKILL
if code < 0:
    if code != -signal.SIGKILL:
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
sys.exit(code)
"""
SUPERVISOR = "prefect.runner._workspace_supervisor"
HOOKS = "_workspace_runtime_bootstrap.py"
MODULES = (
    SUPERVISOR, "prefect.runner._workspace_runtime_bootstrap", "prefect.engine", "prefect.flow_engine",
    "prefect.task_engine", "prefect.deployments.steps.pull", "prefect._internal.metrics", "prefect.concurrency.sync",
    "prefect.artifacts", "prefect.events.clients", "finetide_flows.retrain", "finetide_flows.monitor",
)  # fmt: skip


class FlowForks:
    """Context manager around the process that forks flows, and command lines of the same project.

    ``env``: what a worker needs, so that its flows come from here. ``more``: put into the environment of the flows that
    start from now on.
    """

    def __init__(self, root: Path, folder: Path, env: dict[str, str], hooks: Sequence[str] = ()) -> None:
        """Args: root: a project. folder: for socket, shim and logs. env: of the flows to come: Prefect's settings are
        read when it is imported. hooks: modules whose ``on_start(role)`` every forked process calls first."""
        self._root, self._folder, self._hooks, self._own = root, folder, hooks, env
        self.more: dict[str, str] = {}

    def __enter__(self) -> FlowForks:
        tests = Path(__file__).parents[1]
        path = [tests / "support" / "guard", tests.parent / "src", tests, os.environ.get("PYTHONPATH", "")]
        self._folder.mkdir(parents=True, exist_ok=True)
        # Of its own: the name of a socket has 107 characters at most.
        shim, address = self._folder / "shim", Path(tempfile.mkdtemp(prefix="ft-")) / "s"
        shim.write_text(SHIM_LINES.format(python=sys.executable))
        shim.chmod(0o755)
        self.env = {
            **self._own, **forked.QUIET, SOCKET: str(address), SHIM: str(shim),
            "PYTHONPATH": os.pathsep.join(filter(None, map(str, path))),
        }  # fmt: skip
        (self._folder / "more.json").write_text("{}")
        code = f"from support.flow_forks import serve; serve({str(self._folder)!r}, {list(self._hooks)!r})"
        with (self._folder / "forks.log").open("wb") as log:
            self._server = subprocess.Popen(
                [sys.executable, "-c", code], cwd=self._root, env=self.env, stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        assert self._server.stdout is not None
        if self._server.stdout.readline() != "ready\n":
            raise RuntimeError((self._folder / "forks.log").read_text())
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.close()
        self._server.wait(60)
        self._server.stdout.close()
        shutil.rmtree(Path(self.env[SOCKET]).parent)

    def finetide(self, *arguments: str, seconds: float = 300) -> Ended:
        """``finetide ARGUMENTS`` in the project."""
        log = self._folder / "command.log"
        log.unlink(missing_ok=True)
        question = {"arguments": ["finetide", *arguments], "env": self.env, "cwd": str(self._root), "log": str(log)}
        code = self._ask(question, seconds)["code"]
        return Ended(code, log.read_text(encoding="utf-8", errors="replace") if log.exists() else "")

    def at_work(self) -> list[str]:
        """The flow runs that have a process now."""
        return list(self._ask({"at_work": True}, 30)["runs"])

    def set_more(self, env: dict[str, str]) -> None:
        (self._folder / "more.json").write_text(json.dumps(env))

    def family(self) -> list[psutil.Process]:
        """All forked processes that live, parents first; zygotes among them, which a real run has not."""
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(self._server.pid).children(recursive=True)
        return []

    def log_of(self, run: str) -> str:
        path = self._folder / f"{run}.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def _ask(self, question: dict[str, Any], seconds: float) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(seconds)
            asking.connect(self.env[SOCKET])
            asking.sendall(json.dumps(question).encode() + b"\n")
            answer: dict[str, Any] = json.loads(asking.makefile().readline())
            return answer


@dataclass
class Attempt:
    """What one shim asked for. ``then``: what is forked once the process has ended well, if anything."""

    connection: socket.socket
    pid: int
    run: str
    then: Callable[[], int] | None = None


def serve(folder: str, hooks: list[str]) -> None:
    """The process behind `FlowForks`."""
    answering = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever prints while it is imported must not answer
    for name in MODULES:
        import_module(name)
    tqdm.monitor_interval = 0  # no thread to watch over bars
    forked.warm()
    forked.on_start += [import_module(name).on_start for name in hooks]
    assert threading.active_count() == 1, threading.enumerate()
    os.chdir("/")
    Server(Path(folder)).serve(answering)


class Server:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._attempts: list[Attempt] = []
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(os.environ[SOCKET])
        self._listener.listen(16)

    def serve(self, answering: Any) -> None:
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(sys.stdin, selectors.EVENT_READ)
        answering.write("ready\n")
        while True:
            for key, _ in self._selector.select(0.02):
                if key.fileobj is sys.stdin:
                    for attempt in self._attempts:
                        end(attempt.pid, signal.SIGKILL)
                    return
                if key.fileobj is self._listener:
                    self._accept(self._listener.accept()[0])
                else:
                    self._hear(key.data)
            for attempt in list(self._attempts):
                self._look_at(attempt)

    def _accept(self, connection: socket.socket) -> None:
        line = b""
        while not line.endswith(b"\n"):
            if not (part := connection.recv(65536)):
                connection.close()
                return
            line += part
        question = json.loads(line)
        if question.get("at_work"):
            with connection:
                runs = [one.run for one in self._attempts if one.run]
                connection.sendall(json.dumps({"runs": runs}).encode() + b"\n")
            return
        attempt = Attempt(connection, 0, question["env"].get("PREFECT__FLOW_RUN_ID", ""))
        self._attempts.append(attempt)
        self._selector.register(connection, selectors.EVENT_READ, attempt)
        self._start(attempt, question)

    def _start(self, attempt: Attempt, question: dict[str, Any]) -> None:
        arguments, env, cwd = question["arguments"], question["env"], Path(question["cwd"])
        log = Path(question.get("log", self._folder / f"{attempt.run}.log"))
        if arguments[0] == "finetide":
            from finetide.cli.main import main

            attempt.run = ""
            attempt.pid = self._fork("run", cwd, env, log, lambda: logging.root.handlers.clear() or main(arguments[1:]))
        elif arguments[:2] == ["-m", SUPERVISOR]:
            handed = self._folder / f"{attempt.run}.json"
            attempt.pid = self._fork("supervisor", cwd, env, log, lambda: supervise(arguments[2:], handed))

            def engine() -> int:
                found = json.loads(handed.read_text())
                more = json.loads((self._folder / "more.json").read_text())
                return self._fork("flow", Path(found["cwd"]), {**found["env"], **more}, log, run_engine)

            attempt.then = engine
        elif arguments[0].endswith(HOOKS):
            from prefect.runner._workspace_runtime_bootstrap import main as hook

            attempt.run = ""
            attempt.pid = self._fork("hook", cwd, env, log, lambda: hook(arguments[1:]))
        else:
            raise ValueError(f"nothing is known of {arguments}")

    def _fork(self, role: str, cwd: Path, env: dict[str, str], log: Path, body: Callable[[], Any]) -> int:
        def child() -> int:
            os.setsid()
            for attempt in self._attempts:
                attempt.connection.close()
            self._selector.close()
            self._listener.close()
            forked.redirect_to(log)
            return int(body() or 0)

        return forked.fork(role, cwd, env, child)

    def _hear(self, attempt: Attempt) -> None:
        """T is SIGTERM; the end of the connection is the shim's."""
        said = b""
        with suppress(OSError):
            said = attempt.connection.recv(16)
        end(attempt.pid, signal.SIGTERM if said else signal.SIGKILL)
        if not said:
            self._selector.unregister(attempt.connection)
            attempt.then = None

    def _look_at(self, attempt: Attempt) -> None:
        found, status = os.waitpid(attempt.pid, os.WNOHANG)
        if not found:
            return
        code, then = os.waitstatus_to_exitcode(status), attempt.then
        if code == 0 and then is not None:
            attempt.then = None
            attempt.pid = then()
            return
        self._attempts.remove(attempt)
        with suppress(KeyError):
            self._selector.unregister(attempt.connection)
        with suppress(OSError):
            attempt.connection.sendall(json.dumps({"code": code}).encode() + b"\n")
        attempt.connection.close()


def end(pid: int, number: int) -> None:
    """Prefect signals the group of the process that it started; before the fork has made its own, the process alone."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def supervise(arguments: list[str], handed: Path) -> int:
    """Prefect's own preparation of a run, up to where it becomes the engine by exec."""
    supervisor: Any = import_module(SUPERVISOR)

    async def hand_on(_command: list[str], *, cwd: Path, environment: dict[str, str]) -> int:
        handed.write_text(json.dumps({"cwd": str(cwd), "env": environment}))
        return 0

    supervisor._launch_engine = hand_on
    sys.executable = os.environ[SHIM]  # the hooks that a worker runs later come from here, too
    return int(supervisor.main(arguments))


def run_engine() -> int:
    """``python -m prefect.engine``, its end included: an interpreter waits for threads."""
    from finetide.pipeline import dvc

    dvc._run = Zygote().dvc  # type: ignore[assignment]
    code = 0
    try:
        runpy.run_module("prefect.engine", run_name="__main__")
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
    finally:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    return code


class Zygote:
    """A child with one thread that forks DVC for its parent, and dies with it."""

    def __init__(self) -> None:
        from finetide.pipeline.dvc import die_with_parent

        self._lock = threading.Lock()
        self._mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        parent = os.getpid()
        if os.fork() == 0:
            try:
                os.setsid()
                self._mine.close()
                die_with_parent(parent)
                forked.name_process("zygote")
                logging.root.handlers.clear()  # Prefect's; DVC and the stages know none
                _serve_dvc(its)
            finally:
                os._exit(0)
        its.close()

    def dvc(self, command: list[str], root: Path, on_line: Callable[[str], None] | None) -> Any:
        """In place of ``pipeline.dvc._run``."""
        from finetide.pipeline import dvc

        question = {"command": command, "root": str(root), "env": dvc.environment(root)}
        reading, writing = os.pipe()
        with self._lock:
            socket.send_fds(self._mine, [json.dumps(question).encode()], [writing])
            os.close(writing)
            pid = int(self._mine.recv(64))
            try:
                lines = forked.read_lines(reading, on_line)
                code = int(self._mine.recv(64))
            except BaseException:
                for number in (signal.SIGTERM, signal.SIGKILL):
                    with suppress(ProcessLookupError):
                        os.killpg(pid, number)
                        time.sleep(1)
                self._mine.recv(64)
                raise
        return dvc.Outcome(code, "\n".join(lines))


def _serve_dvc(its: socket.socket) -> None:
    while True:
        said, handles, _, _ = socket.recv_fds(its, 1 << 20, 1)
        if not said:
            return
        question = json.loads(said)
        pid = forked.start_dvc(question["command"], Path(question["root"]), question["env"], handles[0], its.fileno())
        os.close(handles[0])
        its.send(str(pid).encode())
        _, status = os.waitpid(pid, 0)
        its.send(str(os.waitstatus_to_exitcode(status)).encode())
