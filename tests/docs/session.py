"""A person's shell, for the pages of the manual: `finetide` answers from forked processes, so a run takes seconds.

Two things differ from what a reader sees: `finetide init` takes a tiny random base unless the page names one, and
writes settings that a micro model is done with in seconds.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from docs.pages import Command
from support.forked import Forks
from support.project import edit_params, environment, quick
from support.questions import quick as quick_questions

# Speaks to the server below; without site, so that it starts in 20 ms.
CLIENT = """#!{python} -ISB
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as link:
    link.connect({address!r})
    asked = {{"cwd": os.getcwd(), "arguments": sys.argv[1:], "env": dict(os.environ)}}
    link.sendall(json.dumps(asked).encode() + b"\\n")
    answer = json.loads(link.makefile(encoding="utf-8").readline())
sys.stdout.reconfigure(encoding="utf-8")
sys.stdout.write(answer["output"])
sys.exit(answer["code"])
"""
# `make run` is flows/retrain.py, which tests/flows takes the whole way; what it leaves is what `finetide run` leaves.
MAKE = '#!/bin/sh\n[ "$*" = run ] || { echo "make $*: not in this test"; exit 2; }\nexec finetide run\n'
COMMAND_SECONDS = 240


def lenient(params: Any) -> None:
    """Quick, and a judge whom a random base satisfies: the pages are about what to type, not about accuracy."""
    if params["task"] == "question-answering":
        quick_questions(params)
        return
    quick(params)
    params["shift"]["harmless_auc"] = 0.6
    params["judge"].update(floor=0.1, label_floor=0.0, non_inferiority_margin=0.5, slice_margin=1.0)


class Shell:
    """Commands run one after the other; folder and exported variables are kept in between. A context manager."""

    def __init__(self, folder: Path, forks: Forks, base: Path) -> None:
        self._folder, self._forks, self._base = folder, forks, base

    def __enter__(self) -> Shell:
        self._home = Path(tempfile.mkdtemp(prefix="finetide-manual-"))  # a socket's name must be short
        address = str(self._home / "socket")
        tools = self._home / "bin"
        tools.mkdir()
        (tools / "finetide").write_text(CLIENT.format(python=sys.executable, address=address))
        (tools / "make").write_text(MAKE)
        for tool in tools.iterdir():
            tool.chmod(0o755)
        self._env = {**environment(), "OMP_NUM_THREADS": "1", "STATE": str(self._home / "state")}
        self._env["PATH"] = f"{tools}{os.pathsep}{self._env['PATH']}"
        self._env["PYTHONPATH"] = str(Path(__file__).parents[2] / "src")
        (self._home / "state").write_text(f"cd '{self._folder}'\n")
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(address)
        self._socket.listen()
        self._server = threading.Thread(target=self._serve, daemon=True)
        self._server.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._server.join(10)
        shutil.rmtree(self._home)

    def run(self, command: Command) -> tuple[int, str]:
        """Exit code, and what was printed on both streams."""
        script = f'. "$STATE"\n{command.text}\ncode=$?\n{{ echo "cd \'$PWD\'"; export -p; }} > "$STATE"\nexit $code\n'
        done = subprocess.run(
            ["bash", "-c", script], env=self._env, text=True, check=False, timeout=COMMAND_SECONDS,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        return done.returncode, done.stdout

    def _serve(self) -> None:
        while True:
            try:
                link, _ = self._socket.accept()
            except OSError:
                return
            with link, link.makefile("rw", encoding="utf-8") as stream:
                answer = self._answer(json.loads(stream.readline()))
                stream.write(json.dumps(answer) + "\n")

    def _answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        arguments, cwd = asked["arguments"], Path(asked["cwd"])
        init = arguments[:1] in (["init"], ["adopt"])
        if arguments[:1] == ["init"] and "--base" not in arguments:
            arguments = [*arguments, "--base", str(self._base)]
        ended = self._forks.call(cwd, arguments, self._home / "log", asked["env"], seconds=COMMAND_SECONDS)
        if init and ended.code == 0:
            edit_params(
                cwd / arguments[1 if arguments[0] == "init" else 2], lenient, arguments[arguments.index("--name") + 1]
            )
        code = ended.code if ended.code >= 0 else 128 + signal.Signals(-ended.code)
        return {"output": ended.output, "code": code}
