"""The command line in forked processes: everything is imported once, so that a run of all stages takes seconds.

The processes are those of a real run (finetide run → dvc repro → finetide stage), each with its own pid, its own
environment and the same death signals; only the exec and the imports after it are left out. What goes through here:
``pipeline.dvc`` starts DVC, and DVC starts a stage's command. Git is started as always. tests/faults holds the two
roads against each other.
"""

from __future__ import annotations

import ctypes
import faulthandler
import functools
import gc
import json
import logging
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

PR_SET_NAME = 15
COMMAND_LINE = "finetide.cli.main"
MODULES = (
    "torch", "transformers", "accelerate", "great_expectations", "onnx", "onnxruntime", "onnxscript", "pandas",
    "pyarrow.parquet", "sklearn.linear_model", "scipy.stats", "matplotlib.pyplot", "tokenizers", "safetensors.torch",
    "dvc.cli", "dvc.repo", "dvc.commands.repro", "dvc.commands.status", "dvc.commands.add", "dvc.stage.run",
    "dvc.output", "dvc.repo.reproduce", "dvc_data.hashfile.transfer", "dvc.cli.parser", "dvc.analytics", "dvc.scm",
    "dvc.repo.index", "dvc.repo.graph", "dvc.repo.stage", "dvc.repo.metrics", "dvc.repo.params", "dvc.repo.plots",
    "dvc.repo.artifacts", "dvc.repo.datasets", "dvc.repo.open_repo", "dvc.repo.trie", "dvc.cachemgr", "dvc.data_cloud",
    "dvc.compare", "dvc.lock", "dvc.rwlock", "dvc.utils.strictyaml", "dvc_data.hashfile.status", "dulwich.repo",
    "dulwich.client", "dulwich.walk", "dulwich.index", "fsspec.implementations.memory", "zc.lockfile", "flufl.lock",
    "pyarrow.dataset", "pyarrow.pandas_compat", "matplotlib.backends.backend_agg", "PIL.JpegImagePlugin",
    "PIL.PpmImagePlugin", "pandas.core.arrays.arrow.extension_types", "pandas.io.formats.csvs",
    "transformers.models.bert.modeling_bert", "transformers.models.auto.modeling_auto",
    "finetide.cli.main", "finetide.lifecycle.run", "finetide.lifecycle.status", "finetide.preflight",
    "finetide.predicting", "finetide.runtime", "finetide.tasks.text_classification", "finetide.report",
    *(f"finetide.stages.{name}" for name in (
        "ingest", "validate", "split", "shift", "gate", "train", "evaluate", "export", "judge"
    )),
)  # fmt: skip
# As the micro projects have them: what the exporter keeps in mind is of use to them then.
LENGTH, OPSET = 32, 18
QUIET = {
    "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1",
    "GX_ANALYTICS_ENABLED": "false", "DVC_NO_ANALYTICS": "1", "DO_NOT_TRACK": "1", "MPLBACKEND": "Agg",
}  # fmt: skip
# Run in every forked process just after the fork, with its role: run, dvc, or a stage's name.
on_start: list[Callable[[str], None]] = []


@dataclass(frozen=True)
class Ended:
    """Exit code (negative: the signal) and everything printed."""

    code: int
    output: str


def warm() -> None:
    """Import all that a run imports, and let DVC and the stages be forked. One thread, or a fork is not safe."""
    for name in MODULES:
        import_module(name)
    _export_once()
    import dvc.stage.run as dvc_run

    from finetide.lifecycle import outputs
    from finetide.pipeline import codelock, dvc

    for stage in outputs.STAGES:  # what each stage imports is read once, as a run of any length does
        codelock.key(stage, "text-classification")

    dvc._run = _forked_dvc
    dvc_run._run = _forked_stage
    # What is there now is never garbage: else each child's collector copies all of it, page by page.
    gc.collect()
    gc.freeze()


def _export_once() -> None:
    """The exporter imports some five hundred modules and fills its caches on first use.

    Its table of operators it builds anew for each export: here it is kept as well, a second saved in each run.
    """
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    from finetide import tasks
    from finetide.export import onnx_file
    from finetide.task import ModelSettings
    from support.micro import micro_base

    kept = staticmethod(functools.cache(ONNXRegistry.from_torchlib))
    ONNXRegistry.from_torchlib = kept  # type: ignore[method-assign,assignment]
    task = tasks.load("text-classification")
    with tempfile.TemporaryDirectory() as made:
        micro_base(Path(made) / "base", layers=1)
        built = task.build(Path(made) / "base", ModelSettings(("a", "b"), LENGTH, "mean", 0.1), seed=0)
        onnx_file.export(task.export(built), Path(made) / "model.onnx", opset=OPSET)


class Forks:
    """A process that has everything imported and forks a child for each command line; a context manager.

    A process of its own, because `warm` changes modules, and a fork is only safe with one thread.
    """

    def __init__(self, hooks: str = "", module: str = COMMAND_LINE) -> None:
        """Args: hooks: module whose ``on_start(role)`` every forked process calls first. module: where `start` finds
        its functions; one for all, since what its import sets up (Prefect: logging) every later process inherits.
        """
        self._hooks, self._module = hooks, module

    def __enter__(self) -> Forks:
        tests = Path(__file__).parents[1]
        # The code of this very tree, also where the environment's editable install is of another.
        path = [str(tests.parent / "src"), str(tests), os.environ.get("PYTHONPATH", "")]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path)), **QUIET}
        self._server = subprocess.Popen(
            [sys.executable, "-c", f"from support.forked import serve; serve({self._hooks!r}, {self._module!r})"],
            env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._ask({"ask": "ready"})
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.close()
        self._server.wait(60)
        self._server.stdout.close()

    def start(
        self, root: Path, arguments: Sequence[str], log: Path, env: Mapping[str, str], *, uid: int = -1,
        entry: str = "main",
    ) -> int:  # fmt: skip
        """Start ``finetide ARGUMENTS`` in ``root``; what it prints goes to ``log``. Returns its pid.

        Args: uid: the user it runs as; -1: as this one. entry: the function of the module that is
            given the arguments.
        """
        question = {"ask": "start", "root": str(root), "arguments": list(arguments), "log": str(log), "entry": entry}
        return int(self._ask({**question, "env": {**env, **QUIET}, "uid": uid})["pid"])

    def wait(self, pid: int, seconds: float) -> int:
        """The exit code; negative for a signal. Raises: TimeoutError after killing it."""
        answer = self._ask({"ask": "wait", "pid": pid, "seconds": seconds})
        if answer["code"] is None:
            raise TimeoutError(f"process {pid} took more than {seconds:.0f} s")
        return int(answer["code"])

    def call(
        self, root: Path, arguments: Sequence[str], log: Path, env: Mapping[str, str], *, seconds: float = 300,
        uid: int = -1, entry: str = "main",
    ) -> Ended:  # fmt: skip
        """`start` and `wait`."""
        log.unlink(missing_ok=True)
        code = self.wait(self.start(root, arguments, log, env, uid=uid, entry=entry), seconds)
        return Ended(code, log.read_text(encoding="utf-8", errors="replace"))

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(question) + "\n")
        self._server.stdin.flush()
        line = self._server.stdout.readline()
        if not line:
            raise RuntimeError(f"the forking process ended with {self._server.wait(60)}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def serve(hooks: str, module: str) -> None:
    """The process behind `Forks`: one JSON line in, one out."""
    asking, answering = sys.stdin, os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever prints while it is imported must not answer
    warm()
    entries = import_module(module)
    if hooks:
        on_start.append(import_module(hooks).on_start)
    for line in asking:
        question = json.loads(line)
        answer: dict[str, Any] = {}
        if question["ask"] == "start":
            answer["pid"] = _start(question, getattr(entries, question["entry"]))
        elif question["ask"] == "wait":
            answer["code"] = _wait(question["pid"], question["seconds"])
        print(json.dumps(answer), file=answering, flush=True)


def _start(question: dict[str, Any], entry: Callable[[list[str]], object]) -> int:
    def child() -> int:
        os.setsid()
        redirect_to(Path(question["log"]))
        if question["uid"] >= 0:
            os.setgroups([])
            os.setgid(question["uid"])
            os.setuid(question["uid"])
        entry(question["arguments"])
        return 0

    return fork("run", Path(question["root"]), question["env"], child)


def _wait(pid: int, seconds: float) -> int | None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    with suppress(psutil.NoSuchProcess):
        top = psutil.Process(pid)
        for process in (top, *top.children(recursive=True)):
            process.send_signal(signal.SIGUSR1)  # each writes where it stands into its log
        time.sleep(1)
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def fork(role: str, cwd: Path, env: Mapping[str, str], body: Callable[[], int]) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        name_process(role)
        os.environ.clear()
        os.environ.update(env)
        os.chdir(cwd)
        for hook in on_start:
            hook(role)
        code = body()
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def name_process(role: str) -> None:
    """What `ps` shows."""
    ctypes.CDLL(None).prctl(PR_SET_NAME, f"ft-{role}".encode())


def redirect_to(log: Path) -> None:
    """What this process prints is added to a file."""
    _redirect(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644))


def _redirect(handle: int) -> None:
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    # The parent's streams may be pytest's; these write to the file descriptors, as a new process's would.
    sys.stdout = os.fdopen(1, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)
    sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr
    faulthandler.register(signal.SIGUSR1, file=sys.stderr)


def start_dvc(command: list[str], root: Path, env: Mapping[str, str], writing: int, *unused: int) -> int:
    """Fork DVC as ``pipeline.dvc`` starts it: the same process group and death signal. Returns its pid.

    Args: writing: what it prints goes there. unused: further file descriptors that it must not keep open.
    """
    from finetide.pipeline import dvc

    assert command[1:3] == ["-m", "dvc"]

    def child() -> int:
        os.setsid()
        for handle in unused:
            os.close(handle)
        dvc.die_with_parent()
        _redirect(writing)
        logging.root.handlers.clear()  # where Prefect is imported they are its own, and show what DVC would not
        from dvc.cli import main

        return int(main(command[3:]))

    return fork("dvc", root, env, child)


def read_lines(reading: int, on_line: Callable[[str], None] | None) -> list[str]:
    """All lines until the other end is closed, each told as it comes."""
    lines: list[str] = []
    with os.fdopen(reading, "rb") as stream:
        for raw in stream:
            line = raw.decode(errors="replace").rstrip("\n")
            lines.append(line)
            if on_line:
                on_line(line)
    return lines


def _forked_dvc(command: list[str], root: Path, on_line: Callable[[str], None] | None) -> Any:
    """In place of ``pipeline.dvc._run``: the same process group, death signal, environment and pipe."""
    from finetide.pipeline import dvc

    reading, writing = os.pipe()
    pid = start_dvc(command, root, dvc.environment(root), writing, reading)
    os.close(writing)
    lines = read_lines(reading, on_line)
    _, status = os.waitpid(pid, 0)
    return dvc.Outcome(os.waitstatus_to_exitcode(status), "\n".join(lines))


def _forked_stage(_executable: str | None, cmd: str, **kwargs: Any) -> None:
    """In place of ``dvc.stage.run._run``."""
    from dvc.stage.exceptions import StageCmdFailedError

    from finetide.cli.main import main

    words = shlex.split(cmd)
    assert words[0] == "finetide", cmd

    def child() -> int:
        main(words[1:])
        return 0

    pid = fork(words[2], Path(kwargs["cwd"]), kwargs["env"], child)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code != 0:
        raise StageCmdFailedError(cmd, code)
