"""One fault in a scheduled run on a machine as `finetide up` makes it, the next scheduled run, and a look at the end.

What is done after a fault is what whoever watches over the machine does without thinking: `finetide up`. Nothing in the
project is mended by hand.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import psutil

from faults import trial
from faults.machine import DROPPED, Machine, Watch, kill, role
from finetide.files import sha256_file
from finetide.lifecycle import remote
from support.project import MODEL
from support.project import run as command

Kind = Literal["worker", "server", "stage", "tree", "server-away", "remote-away", "disk-full", "cancel"]
# An undisturbed run on two cores with nothing else to do; where others are at work, all that follows may take longer.
QUIET_SECONDS = 20.0
ORPHAN_SECONDS = 10.0
CANCEL_SECONDS = 10.0
MARKED_SECONDS = 120.0
# The lease of the slot for trainings, and the rounds of the server that looks for those that ran out.
SLOT_SECONDS = 90.0
# After these the run goes on, or is started by the next worker: it must come to its end by itself.
HARMLESS: tuple[Kind, ...] = ("worker", "server", "server-away", "remote-away")


@dataclass(frozen=True)
class Known:
    """The undisturbed run: what it leaves, what lies in the remote then, its seconds, and the steps that take space."""

    ending: trial.Ending
    stored: list[str]
    seconds: float
    steps: int

    @property
    def pace(self) -> float:
        """How many times slower this machine is than a quiet one."""
        return max(1.0, self.seconds / QUIET_SECONDS)


@dataclass(frozen=True)
class Fault:
    """``at``: seconds after the run was ordered; of a full disk the number of the step. ``back``: seconds until what
    went away is there again. ``waits``: until the server itself has marked a run that died, and freed its slots; else
    the trial does the same through the server's interface, at once."""

    number: int
    kind: Kind
    at: float
    back: float = 0.0
    waits: bool = False


@dataclass
class Trial:
    """``struck``: where; ``first``, ``second``: how the runs ended; ``said``: what they logged about a repair;
    ``noted``: times that were measured; ``wrong``: what should not be, empty when all is well."""

    fault: Fault
    struck: str = ""
    first: str = ""
    second: str = ""
    said: list[str] = field(default_factory=list)
    noted: dict[str, float] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def as_line(self, commit: str) -> str:
        """Args: commit: of the code that ran."""
        found = {key: value for key, value in asdict(self).items() if key != "fault"}
        return json.dumps({**asdict(self.fault), **found, "seconds": round(self.seconds, 1), "commit": commit})


def ending(machine: Machine) -> trial.Ending:
    """Of the worktree, in which scheduled runs work; head and index are the checkout's."""
    found, here = trial.ending(machine.worktree), machine.home
    files = {**found.files, "checkout": command(here, "git", "status", "--porcelain").stdout}
    files["window"] = sha256_file(here / "data" / MODEL / "window.json")
    files["dropped"] = sha256_file(machine.drop / DROPPED)
    files["checkout head"] = command(here, "git", "rev-parse", "HEAD").stdout.strip()
    return trial.Ending(found.outputs, found.champion, found.events, files)


def use_remote(machine: Machine) -> Path:
    """A folder as the default DVC remote, for this machine alone."""
    store = machine.folder / "remote"
    shutil.rmtree(store) if store.is_dir() else store.unlink(missing_ok=True)
    text = f"[core]\n    remote = store\n['remote \"store\"']\n    url = {store}\n"
    (machine.home / ".dvc" / "config.local").write_text(text)
    return store


def stored(store: Path) -> list[str]:
    return sorted(path.relative_to(store).as_posix() for path in store.rglob("*") if path.is_file())


def undisturbed(machine: Machine) -> Known:
    """Two runs: one as a trial's, whose steps are counted, and one with a remote."""
    machine.calm()
    machine.restore()
    machine.drop_file()
    count, started = _count_steps(machine, 1 << 60), time.monotonic()
    _ends_promoted(machine)
    seconds, found, steps = time.monotonic() - started, ending(machine), int.from_bytes(count.read_bytes(), "little")
    machine.forks.set_more({})
    machine.restore()
    machine.drop_file()
    store = use_remote(machine)
    _ends_promoted(machine)
    return Known(found, stored(store), seconds, steps)


def _ends_promoted(machine: Machine) -> None:
    flow_run = machine.start_run()
    state = machine.until_ended(flow_run)
    assert state is not None, machine.forks.log_of(flow_run)
    assert state["name"] == "Promoted", f"{state}\n{machine.forks.log_of(flow_run)}"


def _count_steps(machine: Machine, first: int) -> Path:
    """Flows that start from now on find a full disk from that step on."""
    count, flag = machine.folder / "steps", machine.folder / "full"
    count.write_bytes(bytes(8))
    flag.touch()
    flag.with_name("full.struck").unlink(missing_ok=True)
    more = {"FT_FULL_COUNT": str(count), "FT_FULL_FROM": str(first), "FT_FULL": str(flag), "FT_ROOT": str(machine.home)}
    machine.forks.set_more(more)
    return count


def run_trial(machine: Machine, fault: Fault, known: Known) -> Trial:
    """Both runs, and what is wrong after them."""
    found, started = Trial(fault), time.monotonic()
    machine.calm()
    machine.restore()
    machine.drop_file()
    before = _served(machine)
    with Watch(machine.home / "serving" / MODEL / "champion.json") as watch:
        try:
            _both_runs(machine, fault, known, found)
        except Exception as error:
            found.wrong.append(f"{type(error).__name__}: {error}")
        finally:
            machine.forks.set_more({})
    found.wrong += watch.wrong
    if watch.seen != [before, known.ending.champion]:
        found.wrong.append(f"in service were, one after the other, {watch.seen}")
    _compare(machine, found, known)
    _no_orphans(machine.family(), found, known.pace)
    kill(machine.forks.family())
    found.seconds = time.monotonic() - started
    return found


def _served(machine: Machine) -> str:
    return str(json.loads((machine.home / "serving" / MODEL / "champion.json").read_text(encoding="utf-8"))["hash"])


def _both_runs(machine: Machine, fault: Fault, known: Known, found: Trial) -> None:
    if fault.kind in PREPARE:
        PREPARE[fault.kind](machine, fault)
    first = machine.start_run()
    STRIKE[fault.kind](machine, fault, first, found, known)
    state = _ended(machine, fault, first, found, known)
    found.first = f"{state['name']}: {state['message'] or ''}"[:300]
    if fault.kind in HARMLESS and state["name"] != "Promoted":
        # Lost before its process had come to the flow: nobody but the next run can begin it again. (The start time that
        # the server gives says nothing: it is set by a crash too.)
        states = machine.ask(f"/flow_run_states/?flow_run_id={first}")
        if any(state["type"] == "RUNNING" for state in states):
            found.wrong.append(f"the run did not come to its end: {found.first}")
    journal, done = _journal(machine), machine.completed_stages(first)
    _free_slots(machine, fault, found, known)
    second = machine.start_run()
    state = machine.until_ended(second)
    if state is None:
        found.wrong.append("the next run died")
        return
    found.second = f"{state['name']}: {state['message'] or ''}"[:300]
    if state["name"] not in ("Promoted", "Unchanged"):
        found.wrong.append(f"the next run ended as {found.second}; {machine.forks.log_of(second)[-2000:]}")
    found.said = [line for run in (first, second) for line in machine.said(run, "repaired")]
    ran = {event["stage"] for event in _journal(machine)[len(journal) :] if event.get("state") == "ran"}
    if again := sorted(done & ran):
        found.wrong.append(f"was reported as done, and ran again: {', '.join(again)}")
    if taken := {name: count for name, count in machine.slots().items() if count}:
        found.wrong.append(f"slots are taken after all: {taken}")


def _journal(machine: Machine) -> list[dict[str, Any]]:
    path = machine.worktree / ".finetide" / "journal" / f"{MODEL}.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    events = []
    for line in lines:
        with suppress(ValueError):
            events.append(json.loads(line))
    return events


def _ended(machine: Machine, fault: Fault, flow_run: str, found: Trial, known: Known) -> dict[str, Any]:
    """The end of the first run, by itself; or marked by the server once its process is gone."""
    state, since = machine.until_ended(flow_run), time.monotonic()
    if state is not None:
        return state
    found.noted["dead"] = 1.0
    if fault.waits:
        while (state := machine.state(flow_run))["type"] in ("RUNNING", "PENDING", "CANCELLING"):
            if time.monotonic() > since + 2 * MARKED_SECONDS * known.pace:
                break
            time.sleep(1)
        found.noted["marked"] = round(time.monotonic() - since, 1)
        if found.noted["marked"] > MARKED_SECONDS * known.pace:
            found.wrong.append(f"its process was gone, and {found.noted['marked']:.0f} s later it is {state['name']}")
    if machine.state(flow_run)["type"] in ("RUNNING", "PENDING", "CANCELLING"):
        machine.set_state(flow_run, "CRASHED", "its process is gone (marked by the trial)")
    return machine.state(flow_run)


def _free_slots(machine: Machine, fault: Fault, found: Trial, known: Known) -> None:
    started = time.monotonic()
    if fault.waits:
        while any(machine.slots().values()) and time.monotonic() < started + SLOT_SECONDS * known.pace:
            time.sleep(1)
        found.noted["slots"] = round(time.monotonic() - started, 1)
    else:
        machine.free_training()
    if taken := {name: count for name, count in machine.slots().items() if count}:
        found.wrong.append(f"slots are taken after the first run: {taken}")


def _strike(machine: Machine, fault: Fault, flow_run: str, found: Trial, known: Known) -> None:
    """SIGKILL at a time, and `finetide up`."""
    time.sleep(fault.at)
    running, family = machine.running, machine.family()
    roles = " > ".join(role(one) for one in family) or machine.state(flow_run)["name"].lower()
    records = {"worker": [running.worker], "server": [running.server], "server-away": [running.server], "stage": []}
    named = records.get(fault.kind, [running.server, running.worker])
    outer = [one for record in named if record for one in _server_or_worker(record.pid)]
    wanted = {"stage": family[-1:], "tree": [*outer, *machine.forks.family()]}.get(fault.kind, outer)
    kill(wanted)
    what = role_of(fault, family)
    found.struck = f"{roles}: killed {what}"
    if fault.kind in ("stage", "tree") and family:
        _no_orphans(family if fault.kind == "tree" else family[-1:], found, known.pace)
    time.sleep(fault.back)
    if fault.kind != "stage":
        machine.up()


def role_of(fault: Fault, family: list[psutil.Process]) -> str:
    if fault.kind == "stage":
        return "the deepest process" if family else "nothing"
    return {"tree": "everything", "server-away": "server"}.get(fault.kind, fault.kind)


def _server_or_worker(pid: int) -> list[psutil.Process]:
    """What a worker has started are flows, which live on without it."""
    with suppress(psutil.NoSuchProcess):
        return [psutil.Process(pid)]
    return []


def _no_orphans(family: list[psutil.Process], found: Trial, pace: float) -> None:
    _, alive = psutil.wait_procs(family, timeout=ORPHAN_SECONDS * pace)
    if left := [role(one) for one in alive if role(one) != "gone"]:
        found.wrong.append(f"lived on {ORPHAN_SECONDS * pace:.0f} s later: {', '.join(left)}")


def _cancel(machine: Machine, fault: Fault, flow_run: str, found: Trial, known: Known) -> None:
    """As the dashboard's button does."""
    time.sleep(fault.at)
    family = machine.family()
    roles = " > ".join(role(one) for one in family) or machine.state(flow_run)["name"].lower()
    found.struck = f"{roles}: cancelled"
    started = time.monotonic()
    machine.set_state(flow_run, "CANCELLING", "cancelled by a person")
    end = started + 60 * known.pace
    while machine.family() and time.monotonic() < end:
        time.sleep(0.05)
    took = time.monotonic() - started
    found.noted["cancelled"] = round(took, 1)
    if machine.family() or took > CANCEL_SECONDS * known.pace:
        found.wrong.append(f"cancelled, and {took:.0f} s later its processes were there")


def _full(machine: Machine, fault: Fault, flow_run: str, found: Trial, known: Known) -> None:
    """The disk is full from the start; the run meets it at its step. There is room again once the run has ended."""
    state = machine.until_ended(flow_run)
    struck = machine.folder / "full.struck"
    found.struck = f"disk full, {struck.read_text()}" if struck.exists() else "disk full: not reached"
    (machine.folder / "full").unlink()
    machine.forks.set_more({})
    if state is None:
        found.wrong.append("the run died of a full disk")


def _make_full(machine: Machine, fault: Fault) -> None:
    _count_steps(machine, int(fault.at))


def _away(machine: Machine, fault: Fault) -> None:
    """A file where the remote's folder should be: nothing can be pushed there."""
    use_remote(machine).write_text("away\n")


def _come_back(machine: Machine, fault: Fault, flow_run: str, found: Trial, known: Known) -> None:
    found.struck = f"remote away for {fault.at:.1f} s"
    end = time.monotonic() + fault.at
    while time.monotonic() < end and machine.state(flow_run)["type"] not in ("COMPLETED", "FAILED", "CRASHED"):
        time.sleep(0.2)
    (machine.folder / "remote").unlink()


PREPARE: dict[Kind, Callable[[Machine, Fault], None]] = {"disk-full": _make_full, "remote-away": _away}
STRIKE: dict[Kind, Callable[[Machine, Fault, str, Trial, Known], None]] = {
    **dict.fromkeys(("worker", "server", "stage", "tree", "server-away"), _strike),
    "cancel": _cancel, "disk-full": _full, "remote-away": _come_back,
}  # type: ignore[arg-type,list-item]  # fmt: skip


def _compare(machine: Machine, found: Trial, known: Known) -> None:
    try:
        here = ending(machine)
    except Exception as error:
        found.wrong.append(f"the worktree cannot be read: {error!r}")
        return
    for name, value in asdict(known.ending).items():
        if asdict(here)[name] != value:
            found.wrong.append(f"{name} differ: {asdict(here)[name]} instead of {value}")
    if found.fault.kind == "remote-away":
        if (lies := stored(machine.folder / "remote")) != known.stored:
            found.wrong.append(f"the remote has {len(lies)} files instead of {len(known.stored)}")
        if waits := remote.waiting_line(machine.home, MODEL):
            found.wrong.append(waits)
    found.wrong += [
        f"left over: {name}" for name in (*trial.leftovers(machine.home), *trial.leftovers(machine.worktree))
    ]
    found.wrong += [f"is locked: {name}" for name in machine.locked()]
