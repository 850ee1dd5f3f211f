"""DVC as a subprocess, one at a time a workspace, with repair of the files that a kill can tear.

Why a lock of ours around every call, ``status`` included: DVC gives its own lock up while a stage runs, and then a
second command fails at once ("is busy"); its lock also does not exclude threads of one process.
Why repair: DVC writes ``dvc.lock`` and ``.dvc/tmp/rwlock`` in place, so that a kill can leave them empty, and every
later command refuses to run.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from configparser import ConfigParser
from configparser import Error as ConfigError
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import IO, Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from finetide.errors import BusyError, FinetideError, MachineError, ProjectError, ToolError, number_in, refused
from finetide.registry.git import no_repository

PR_SET_PDEATHSIG = 1
ORPHANED = 143
# A child that got SIGKILL, as Python and as a shell tell it.
KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)
RUN_PID = "FINETIDE_RUN"
KILL_AFTER_SECONDS = 10
# No process that lives takes so long between a folder of the run-cache and the file in it, on however busy a machine.
SETTLED_SECONDS = 10.0
Line = Callable[[str], None]
# What DVC says of a remote → what helps.
_REMOTE_FIXES = {
    "requires 'dvc-s3'": "pip install 'finetide[s3]'",
    "Unable to locate credentials": "aws configure, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for who runs this",
    "InvalidAccessKeyId": "correct the access key (~/.aws/credentials, or `dvc remote modify --local`)",
    "SignatureDoesNotMatch": "correct the secret key (~/.aws/credentials, or `dvc remote modify --local`)",
    "AccessDenied": "let this user list, read and write the bucket",
    "Forbidden": "let this user list, read and write the bucket",
    "NoSuchBucket": "make the bucket, or correct the remote's url",
    "bucket does not exist": "make the bucket, or correct the remote's url",
}


@dataclass(frozen=True)
class Outcome:
    """Exit code and everything printed, stdout and stderr in the order they came."""

    code: int
    output: str


def environment(root: Path) -> dict[str, str]:
    """The environment of every child: this Python's commands first, no telemetry, caches inside the project."""
    env = dict(os.environ)
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env.get('PATH') or os.defpath}"
    env.update(
        DVC_NO_ANALYTICS="1",
        DVC_STUDIO_OFFLINE="true",
        DVC_SITE_CACHE_DIR=str(root / ".finetide" / "dvc"),
        DO_NOT_TRACK="1",
        GX_ANALYTICS_ENABLED="false",
        HF_HUB_DISABLE_TELEMETRY="1",
        PYTHONUNBUFFERED="1",
        SHELL="/bin/sh",  # DVC starts a stage through it; this one is replaced by the stage, and no profile is read
    )
    env[RUN_PID] = str(os.getpid())
    return env


def die_with_parent(parent: int | None = None) -> None:
    """Ask Linux to kill this process when its parent dies: a stage whose DVC is gone must not write on.

    Args: parent: the process that must still be there; when it died before we asked, we end here.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if parent is not None and os.getppid() != parent:
            os._exit(ORPHANED)


def require_run() -> None:
    """End here when a ``finetide run`` or a flow started this stage and is gone: the next one may be at work already.

    A stage of a plain ``dvc repro`` belongs to no run and passes.
    """
    run = os.environ.get(RUN_PID, "")
    if run.isdigit() and sys.platform == "linux" and int(run) not in _ancestors():
        os._exit(ORPHANED)


def _ancestors() -> Iterator[int]:
    """Process ids from our parent upwards, as /proc has them now."""
    pid = os.getppid()
    while pid > 0:
        yield pid
        try:
            # After the name, which stands in brackets and may hold anything: state, parent.
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            return


@contextmanager
def workspace_lock(root: Path, *, wait: bool = True) -> Iterator[None]:
    """Exclude every other DVC call of ours in this workspace; freed by the kernel when the holder dies.

    Who has to wait is told so. Raises: BusyError when ``wait`` is false and another process holds it.
    """
    with _opened(root, "dvc.flock") as stream:
        if not _take(stream):
            if not wait:
                raise _busy(root, stream)
            holder = _holder(stream)
            print(f"waiting: {holder} is at work in {root} (.finetide/dvc.flock)", file=sys.stderr, flush=True)
            fcntl.flock(stream, fcntl.LOCK_EX)
        _sign(stream)
        yield


@contextmanager
def run_lock(root: Path) -> Iterator[list[str]]:
    """Held by one ``finetide run`` from its first line to its last; the DVC calls inside it take turns as always.

    Yields: one line if the run before was killed: it left its signature. Raises: BusyError when another one is at work.
    """
    with _opened(root, "run.flock") as stream:
        if not _take(stream):
            raise _busy(root, stream)
        killed = _holder(stream) if os.fstat(stream.fileno()).st_size else ""
        _sign(stream)
        try:
            yield [f"repaired: the run before ({killed}) was cut off; what it had finished is kept"] if killed else []
        finally:
            with suppress(OSError):
                os.ftruncate(stream.fileno(), 0)


def _opened(root: Path, name: str) -> IO[str]:
    path = root / ".finetide" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("a+")


def _take(stream: IO[str]) -> bool:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sign(stream: IO[str]) -> None:
    """Leave our process id for those who find the lock taken; it means nothing once the lock is free."""
    with suppress(OSError):  # a full disk: the lock itself needs no byte
        os.ftruncate(stream.fileno(), 0)
        os.write(stream.fileno(), str(os.getpid()).encode())


def _holder(stream: IO[str]) -> str:
    stream.seek(0)
    pid = stream.read().strip()
    return f"process {pid}" if pid.isdigit() else "another process"


def _busy(root: Path, stream: IO[str]) -> BusyError:
    return BusyError(
        f"another run is at work in this folder ({_holder(stream)})",
        where=str(root),
        fix="wait until it has ended (finetide status tells), or work in a git worktree",
    )


def is_busy(root: Path) -> bool:
    """Whether a run, or a DVC call of ours, is at work in this workspace now."""
    try:
        with _opened(root, "run.flock") as stream, workspace_lock(root, wait=False):
            return not _take(stream)
    except BusyError:
        return True


def run_started(root: Path) -> float | None:
    """When the run that is at work in this workspace began, in seconds since 1970; None when there is none."""
    with _opened(root, "run.flock") as stream:
        return None if _take(stream) else os.fstat(stream.fileno()).st_mtime  # signed once, at its first line


def require_repository(root: Path) -> None:
    """Raises: ProjectError when no git repository is around ``root``: DVC would only say that it failed."""
    if not any((folder / ".git").exists() for folder in (root, *root.resolve().parents)):
        raise no_repository(root)


def call(root: Path, arguments: Sequence[str], *, on_line: Line | None = None, initialised: bool = True) -> Outcome:
    """Run ``dvc ARGUMENTS`` under the workspace lock; a failure is returned, not raised.

    Args: initialised: False only for ``dvc init`` itself.
    """
    if initialised and not (root / ".dvc").is_dir():
        raise ProjectError("is not a DVC project", where=str(root), fix="run `dvc init` here, or use finetide init")
    with workspace_lock(root):
        repair(root)
        return _run([sys.executable, "-m", "dvc", *arguments], root, on_line)


def checked(
    root: Path, arguments: Sequence[str], *, fix: str = "mend what DVC names (its settings: .dvc/config)"
) -> str:
    """Like `call`; raises ToolError with what DVC printed when it fails, MachineError when the machine refused."""
    outcome = call(root, arguments)
    if outcome.code in KILLED:
        raise killed(f"`dvc {' '.join(arguments)}`", str(root))
    if outcome.code != 0:
        raise failure(f"`dvc {' '.join(arguments)}` failed:\n{_reason(outcome.output)}", str(root), fix)
    return outcome.output


def _reason(output: str) -> str:
    """What DVC printed, but for a line that it prints whether it is so or not."""
    return "\n".join(line for line in output.strip().splitlines() if line != "Everything is up to date.")


def killed(what: str, where: str | None) -> MachineError:
    """Of a child that got SIGKILL, which nothing can answer."""
    return MachineError(
        f"{what} was killed (signal 9), by hand or because memory ran out", where=where,
        fix="run this again: finished stages are kept. If it happens again, ask the system log whether memory ran out, "
        "and lower batch_tokens, batch_images or batch_rows in params.yaml",
    )  # fmt: skip


def failure(said: str, where: str | None, fix: str | None) -> FinetideError:
    """The error for what DVC said: a full disk or a missing right is no fault of the tool."""
    known = refused(number_in(said), "")
    if isinstance(known, MachineError):
        return MachineError(said, where=where, fix=known.fix)
    return ToolError(said, where=where, fix=fix)


def said(output: str) -> str:
    """DVC's own words in one line, with what to do where we know it."""
    errors = [line.partition("ERROR: ")[2] for line in output.splitlines() if "ERROR: " in line]
    words = errors[0] if errors else " ".join(output.split()[-40:]) or "DVC said nothing"
    fix = next((fix for sign, fix in _REMOTE_FIXES.items() if sign in output), "")
    return f"{words}; fix: {fix}" if fix else words


def json_output(root: Path, arguments: Sequence[str]) -> Any:
    """The JSON that a DVC command prints; notices before it are skipped."""
    text = checked(root, arguments)
    for line in reversed(text.splitlines()):
        if line.startswith(("{", "[")):
            return json.loads(line)
    raise ToolError(f"`dvc {' '.join(arguments)}` printed no JSON:\n{text.strip()}", where=str(root))


def repair(root: Path) -> list[str]:
    """Mend what a kill tore; call it under the workspace lock. Returns one line for each repair.

    A torn ``rwlock`` is removed: under our lock nobody holds it. A torn ``dvc.lock`` is removed as well: DVC's
    run-cache brings every finished stage back, byte for byte, without running it. In the run-cache DVC makes a folder
    and then the file in it; a folder without one fails every later look at that stage.
    """
    done = []
    rwlock = root / ".dvc" / "tmp" / "rwlock"
    if rwlock.exists() and not _is_json(rwlock):
        rwlock.unlink()
        done.append("removed a torn .dvc/tmp/rwlock (a process was killed while it held it)")
    lock = root / "dvc.lock"
    if lock.exists() and not _is_lock(lock):
        lock.unlink()
        done.append("removed a torn dvc.lock; finished stages come back from DVC's run-cache")
    if _remove_empty(_cache_folder(root) / "runs"):
        done.append("removed a folder without a file from DVC's run-cache (a process was killed while it wrote one)")
    for line in done:
        print(f"repaired: {line}", file=sys.stderr)
    return done


def has_lock(root: Path) -> bool:
    """Whether there is a ``dvc.lock``, and DVC will read it. Ask under the workspace lock: DVC may be writing it."""
    return (root / "dvc.lock").is_file() and _is_lock(root / "dvc.lock")


def _cache_folder(root: Path) -> Path:
    """DVC's cache as its settings in the project have it; read here, because to ask DVC takes a second."""
    found = root / ".dvc" / "cache"
    for name in ("config", "config.local"):
        settings = ConfigParser(strict=False, interpolation=None)
        with suppress(ConfigError, OSError, UnicodeDecodeError):  # DVC says what is wrong with them
            settings.read(root / ".dvc" / name, encoding="utf-8")
            found = root / ".dvc" / settings.get("cache", "dir", fallback=str(found))
    return found


def _remove_empty(runs: Path) -> bool:
    """Another worktree with the same cache may be about to write into one that is new, so that one is given time."""
    removed = False
    for folder in runs.glob("*/*"):
        with suppress(OSError):  # gone, or no longer empty
            if not any(folder.iterdir()):
                time.sleep(max(0.0, folder.stat().st_mtime + SETTLED_SECONDS - time.time()))
                folder.rmdir()
                removed = True
    return removed


def _run(command: list[str], root: Path, on_line: Line | None) -> Outcome:
    lines: list[str] = []
    parent = os.getpid()
    with subprocess.Popen(
        command,
        cwd=root,
        env=environment(root),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=lambda: die_with_parent(parent),  # noqa: PLW1509 - the child only calls prctl
    ) as child:
        assert child.stdout is not None
        try:
            for raw in child.stdout:
                line = raw.decode(errors="replace").rstrip("\n")
                lines.append(line)
                if on_line:
                    on_line(line)
            code = child.wait()
        except BaseException:
            _kill_group(child)
            raise
    return Outcome(code, "\n".join(lines))


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            return
        try:
            child.wait(KILL_AFTER_SECONDS)
        except subprocess.TimeoutExpired:
            continue


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except ValueError:
        return False
    return True


def _is_lock(path: Path) -> bool:
    """Whether DVC will read it. What a kill cut off inside a line may still be YAML, with a wrong value at its end."""
    try:
        text = path.read_text(encoding="utf-8")
        document = YAML(typ="safe", pure=True).load(StringIO(text))
    except (YAMLError, ValueError, RecursionError):
        return False
    if not text.endswith("\n") or not isinstance(document, dict) or document.get("schema") != "2.0":
        return False
    stages = document.get("stages", {})
    return isinstance(stages, dict) and all(_is_stage(entry) for entry in stages.values())


def _is_stage(entry: Any) -> bool:
    """A stage of dvc.lock: no part of it without what belongs below it."""
    if not isinstance(entry, dict) or not isinstance(entry.get("cmd"), str | list):
        return False
    files = [entry.get(side, []) for side in ("deps", "outs")]
    if not all(isinstance(listed, list) for listed in files):
        return False
    if not all(isinstance(one, dict) and isinstance(one.get("path"), str) for listed in files for one in listed):
        return False
    params = entry.get("params", {})
    return isinstance(params, dict) and all(isinstance(values, dict) for values in params.values())
