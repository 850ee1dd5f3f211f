"""`finetide up` and `finetide down`: a Prefect server on loopback, a worker, and the deployments of params.yaml.

Both may be called twice. What was started stands in ``.finetide/prefect/up.json``, by process id and start time, so
that `down` ends exactly that. With PREFECT_API_URL set, that server is used and only a worker is started. With
PREFECT_SERVER_DATABASE_CONNECTION_URL set, our server keeps its state in that Postgres (database.py).
"""

from __future__ import annotations

import fcntl
import os
import platform
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetide import __version__
from finetide.config.load import model_names
from finetide.config.params import model_params
from finetide.contracts.operate import SQLITE, ProcessRecord, Running
from finetide.errors import InputError, IntegrityError, ToolError
from finetide.files import canonical_json, sha256_bytes
from finetide.lifecycle import isolate
from finetide.operate import blocks, database, environment, processes
from finetide.operate.api import ask
from finetide.registry.git import call, open_repository

if TYPE_CHECKING:
    from sqlalchemy import URL

USUAL_PORT = 4200
POOL = "finetide"
SERVER_SECONDS = 180.0
WORKER_SECONDS = 90.0
_ANEW = (
    ". If it stays so: finetide down, and move .finetide/prefect away; it holds schedules and their history, no model"
)
DECIDING = ("params.yaml", "dvc.yaml", "data", "approvals")
# Of what finetide_flows.deploy makes of the same settings: raised when it makes something else, so that `up` calls it.
WHAT_IS_MADE = 2
Say = Callable[[str], None]


def up(root: Path, port: int | None, say: Say) -> None:
    """Start what is not running, hand the schedules of params.yaml to the server, and wait until all of it is healthy.

    Args: port: of the server; None takes that of the last time, else 4200, else a free one.

    Raises:
        ConfigError: params.yaml. ProjectError: nothing is committed yet.
        InputError: the port is taken; the database is not that of the last time, or another project's; the server has
            no notification block of a name in schedule.notify.
        ToolError: the database, server, deployments or worker failed, with the last lines of what they said.
    """
    schedules = _schedules(root)
    _check_commit(root, say)
    with _only_one(root):
        before = _last(root)
        state = _server(root, before, port, say, sealed=not blocks.are_wanted(schedules))
        told = blocks.find(state.api, blocks.wanted(schedules))
        state = _deploy(root, state, schedules, told, say)
        state = _worker(root, state, say)
    say(f"dashboard:   {state.api.removesuffix('/api')}")


def down(root: Path, say: Say) -> None:
    """Stop what `up` started here, runs at work included; a run that is cut off goes on from its last checkpoint."""
    with _only_one(root):
        state = _last(root)
        if state is None:
            say("nothing is up")
            return
        worker, server = processes.stop(state.worker), processes.stop(state.server)
        write(root, state.model_copy(update={"worker": None, "server": None}))
    stopped = [name for name, was in (("worker", worker), ("server", server)) if was]
    say(f"stopped: {', '.join(stopped)}" if stopped else "nothing is up")


def read(root: Path) -> Running | None:
    """What was up last; None before the first `up`, and where its record is torn (then nothing is known of it)."""
    path = environment.folder(root) / "up.json"
    try:
        return Running.read(path) if path.exists() else None
    except IntegrityError:
        return None


def _last(root: Path) -> Running | None:
    """Raises: IntegrityError: the record is torn, and what it stood for is at work."""
    state, path = read(root), environment.folder(root) / "up.json"
    left = processes.having("PREFECT_HOME", str(path.parent)) if state is None and path.exists() else []
    if left:
        numbers = " ".join(map(str, left))
        raise IntegrityError(
            f"is torn, and what it stood for is running, as process {numbers}", where=str(path),
            fix=f"kill {numbers}; delete the file; finetide up",
        )  # fmt: skip
    return state


def write(root: Path, state: Running) -> None:
    state.write(environment.folder(root) / "up.json")


def api_of(root: Path) -> str | None:
    """Address of the server that knows of this project's runs, whether it answers or not; None where there is none."""
    state = read(root)
    return os.environ.get("PREFECT_API_URL") or (state.api if state else None)


def _schedules(root: Path) -> dict[str, Any]:
    return {name: model_params(root, name).schedule.model_dump(mode="json") for name in model_names(root)}


def _check_commit(root: Path, say: Say) -> None:
    """Says what scheduled runs do not see."""
    isolate.require_commit(open_repository(root))
    shown = call(root, ["status", "--porcelain", "--", *DECIDING]).out.decode(errors="replace").splitlines()
    if shown:
        names = ", ".join(line[3:] for line in shown[:5])
        say(f"note:        not committed, so scheduled runs do not see it: {names}{' …' if len(shown) > 5 else ''}")


@contextmanager
def _only_one(root: Path) -> Iterator[None]:
    """Two of these at once would each start a server; the second waits."""
    folder = environment.folder(root)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "up.flock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _server(root: Path, before: Running | None, port: int | None, say: Say, *, sealed: bool) -> Running:
    given = os.environ.get("PREFECT_API_URL")
    at_work = before is not None and (processes.find(before.server) or processes.find(before.worker))
    if before and at_work and (given != before.api if given or before.pool != POOL else False):
        raise InputError(
            f"is up with {before.api}, and PREFECT_API_URL says otherwise", found=given, fix="finetide down first"
        )
    if given:
        if port is not None:
            raise InputError("PREFECT_API_URL names a server already", where="--port", found=port, fix="unset one")
        known = before if before and before.api == given else None
        say(f"server:      {given} (PREFECT_API_URL), with a database of its own")
        return known or Running(
            api=given, database=None, pool=_shared_pool(root), server=None, worker=None, deployed=None, sealed=False
        )
    ours = before if before and before.pool == POOL else None
    url = database.agree(ours)
    if before and processes.find(before.server) and _is_healthy(before.api):
        if port is not None and port != _port_of(before.api):
            raise InputError(f"the server is up on port {_port_of(before.api)}", found=port, fix="finetide down first")
        if before.sealed == sealed:
            say(f"server:      up already, process {before.server.pid if before.server else '?'}")
            return before
        say(f"server:      begins anew, because notices {'no longer' if sealed else 'now'} leave this machine")
    if before:
        processes.stop(before.server)
    if url is not None:
        database.check(url)
    return _start_server(root, ours, _choose_port(port, before), url, sealed, say)


def _start_server(root: Path, ours: Running | None, port: int, url: URL | None, sealed: bool, say: Say) -> Running:
    """Args: ours: the record of the last server of ours. url: its Postgres; None is SQLite. sealed: see `Running`."""
    api, log = f"http://127.0.0.1:{port}/api", environment.folder(root) / "server.log"
    command = [sys.executable, "-m", "finetide_flows.server", "--host", "127.0.0.1", "--port", str(port)]
    secret = url.render_as_string(hide_password=False) if url is not None else None
    record = processes.start(command, cwd=root, env=environment.of_server(root, api, secret, sealed=sealed), log=log)
    # Written before it is healthy, so that `down` finds it whatever happens next.
    state = Running(
        api=api, database=database.said(url), pool=POOL, server=record, worker=ours and ours.worker,
        deployed=ours and ours.deployed, sealed=sealed,
    )  # fmt: skip
    write(root, state)
    say(f"server:      starting on port {port}, process {record.pid}; state in {state.database}")
    hidden = url.password if url is not None else None
    _until(lambda: _is_healthy(api), SERVER_SECONDS, record, "the server", log, root, hidden)
    if ask(api, f"/work_pools/{POOL}") is None:  # a new database, or another than it was
        processes.stop(state.worker)
        return state.model_copy(update={"worker": None, "deployed": None})
    _refuse_neighbour(root, state)
    return state


def _refuse_neighbour(root: Path, state: Running) -> None:
    """Two projects in one database would take each other's deployments away.

    Raises: InputError when deployments there are of another folder, and its worker is at work. Our server is stopped.
    """
    body = {"work_pools": {"name": {"any_": [state.pool]}}, "limit": 200}
    folders = {
        str(one.get("parameters", {}).get("project")) for one in ask(state.api, "/deployments/filter", body) or []
    }
    if folders <= {str(root)} or not _online(state) - {_worker_name(root, state)}:
        return
    processes.stop(state.server)
    write(root, state.model_copy(update={"server": None}))
    raise InputError(
        "another project is at work on this database", where=state.database, found=", ".join(sorted(folders)),
        fix=f"give this one a database of its own: set {database.NAME}, delete .finetide/prefect/up.json; or finetide "
        "down there, and two minutes later again",
    )  # fmt: skip


def _choose_port(port: int | None, before: Running | None) -> int:
    if port is not None:
        if not _is_free(port):
            raise InputError(
                "is taken by another program", where="--port", found=port, fix="leave --port out, or name a free one"
            )
        return port
    for wanted in (_port_of(before.api) if before and before.pool == POOL else None, USUAL_PORT):
        if wanted and _is_free(wanted):
            return wanted
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does: closed ones may linger
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _port_of(api: str) -> int:
    found = re.search(r":(\d+)/api$", api)
    return int(found[1]) if found else 0


def _deploy(root: Path, state: Running, schedules: dict[str, Any], told: dict[str, str], say: Say) -> Running:
    """Only when something changed: to deploy anew takes scheduled runs away and makes them again.

    Args: told: the id of each notification block; one that was deleted and made again has another.
    """
    made_of = [__version__, WHAT_IS_MADE, schedules, told, state.pool, sys.executable, str(root)]
    wanted = sha256_bytes(canonical_json(made_of))
    if state.deployed == wanted:
        say(f"deployments: as before, of {', '.join(schedules)}")
        return state
    done = subprocess.run(
        [sys.executable, "-m", "finetide_flows.deploy", str(root), state.pool],
        cwd=root, env=environment.of_client(root, state.api), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise ToolError(f"the deployments were not made:\n{said}", where=state.api)
    for line in done.stdout.splitlines():
        say(f"deployment:  {line}")
    state = state.model_copy(update={"deployed": wanted})
    write(root, state)
    return state


def _worker(root: Path, state: Running, say: Say) -> Running:
    if (there := processes.find(state.worker)) and _worker_is_online(root, state):
        say(f"worker:      up already, process {there.pid}")
        write(root, state)
        return state
    processes.stop(state.worker)
    log = environment.folder(root) / "worker.log"
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", state.pool, "--type", "process"]
    env = environment.of_client(root, state.api)
    record = processes.start([*command, "--name", _worker_name(root, state)], cwd=root, env=env, log=log)
    state = state.model_copy(update={"worker": record})
    write(root, state)
    say(f"worker:      starting, process {record.pid}")
    _until(lambda: _worker_is_online(root, state), WORKER_SECONDS, record, "the worker", log, root)
    return state


def _until(
    ready: Callable[[], bool], seconds: float, record: ProcessRecord, what: str, log: Path, root: Path,
    hidden: str | None = None,
) -> None:  # fmt: skip
    """Args: hidden: a password, which no error may show.

    Raises: ToolError with the end of the log when it died, or did not answer in time.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if ready():
            return
        if processes.find(record) is None:
            break
        time.sleep(0.5)
    fault = "died" if processes.find(record) is None else f"did not answer within {seconds:.0f} s"
    end_of_log = processes.last_lines(log)
    if hidden:
        end_of_log = end_of_log.replace(hidden, "***")
    raise ToolError(
        f"{what} {fault}; the end of its log:\n{end_of_log}",
        where=str(log.relative_to(root)),
        fix="finetide down, mend what the log names, then finetide up" + ("" if fault == "died" else _ANEW),
    )


def _is_healthy(api: str) -> bool:
    return ask(api, "/health") is True


def _worker_is_online(root: Path, state: Running) -> bool:
    return _worker_name(root, state) in _online(state)


def _online(state: Running) -> set[str]:
    """Workers of our pool that the server has heard of in the last minutes, by name."""
    workers = ask(state.api, f"/work_pools/{state.pool}/workers/filter", {})
    listed = workers if isinstance(workers, list) else []
    return {str(one.get("name")) for one in listed if one.get("status") == "ONLINE"}


def _worker_name(root: Path, state: Running) -> str:
    """In a database that could be another project's too, a name that tells whose worker it is."""
    return state.pool if state.database == SQLITE else _shared_pool(root)


def _shared_pool(root: Path) -> str:
    """On a server that others use too, a name of this folder's own: runs work in the folder of their worker."""
    name = re.sub(r"[^a-z0-9]+", "-", root.name.lower()).strip("-") or "project"
    return f"finetide-{name}-{sha256_bytes(f'{platform.node()}:{root}'.encode())[:6]}"
