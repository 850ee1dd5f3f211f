"""`finetide up` for real: a file is dropped, and all else happens by itself, seen through the server's own records.

One server, one worker and one project for the whole file, in order: what a day on a machine is. With FT_SCREENSHOTS it
takes the pictures of docs/images (`make screenshots`).
"""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from finetide.contracts.operate import Running
from finetide.lifecycle import waiting
from finetide.operate import api, processes, up
from finetide.registry import ledger
from finetide.registry.alias import read_alias
from support.messages import rows, write_csv
from support.project import MODEL, edit_params, finetide, micro_project, run
from support.screens import take

# Tens of minutes on two cores, with a server, a worker and their schedules.
pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("default")]
PATIENCE_SECONDS = 1500
PICTURES, LONG_EPOCHS = bool(os.environ.get("FT_SCREENSHOTS")), 200


@dataclass
class Machine:
    """A project whose schedule is at work, and the folder in which it drops."""

    root: Path
    drop: Path
    running: Running

    def ask(self, path: str, body: object | None = None) -> Any:
        for _ in range(10):  # SQLite answers "service unavailable" while others write
            if (answer := api.ask(self.running.api, path, body, seconds=60)) is not None:
                return answer
            time.sleep(2)
        raise AssertionError(f"{path}: no answer")

    def runs(self, kind: str) -> list[dict[str, Any]]:
        """Flow runs of a kind that have begun, the newest first."""
        wanted = {"flows": {"name": {"any_": [kind]}}, "sort": "START_TIME_DESC", "limit": 100}
        found: list[dict[str, Any]] = self.ask("/flow_runs/filter", wanted) or []
        return [one for one in found if one["start_time"]]

    @property
    def dashboard(self) -> str:
        return self.running.api.removesuffix("/api")

    def page(self, flow_run: dict[str, Any]) -> str:
        return f"{self.dashboard}/runs/flow-run/{flow_run['id']}"

    def events(self) -> list[str]:
        return [entry.event for entry in ledger.read(self.root, MODEL)]

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            if found := condition():
                return found
            time.sleep(2)
        said = [(one["name"], one["state"]["name"], one["state"]["message"]) for one in self.runs("retrain")]
        raise AssertionError(f"{what}: not within {PATIENCE_SECONDS} s; {said}")

    def half_trained(self) -> str:
        """The page of a training's bar that is between its ends; empty when there is none."""
        found = self.ask("/artifacts/filter", {"artifacts": {"type": {"any_": ["progress"]}}, "limit": 200}) or []
        return next((f"{self.dashboard}/artifacts/artifact/{one['id']}" for one in found if 5 < one["data"] < 70), "")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    folder = tmp_path_factory.mktemp("up")
    root = micro_project(folder, [write_csv(folder / "shop.csv", rows(150, "shop", 1))])

    def schedule(params: Any) -> None:
        params["schedule"].update(quiet_seconds=1.0, cool_down_minutes=0.2)
        params["schedule"]["retrain"].update(cron=None)
        params["schedule"]["monitor"].update(every_minutes=1.0, missed="latest-only")
        if PICTURES:  # a training that lasts as long as a browser takes to start
            tune = params["train"]["phases"][-1]
            tune.update(patience=LONG_EPOCHS, overfit_gap=None)
            tune["duration"].update(epochs=LONG_EPOCHS)

    edit_params(root, schedule)
    run(root, "git", "add", "-A")
    run(root, "git", "commit", "-qm", "the project as init wrote it")
    finetide(root, "run")
    run(root, "git", "add", "-A")
    run(root, "git", "commit", "-qm", "v1")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    before = psutil.Process().children(recursive=True)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("PREFECT_API_URL", raising=False)
            patch.delenv("PREFECT_HOME", raising=False)
            said = finetide(root, "up", "--port", str(port)).stdout
            assert f"dashboard:   http://127.0.0.1:{port}" in said
            shown = api.ask(f"http://127.0.0.1:{port}", "/ui-settings", seconds=60)
            assert shown["api_url"] == f"http://127.0.0.1:{port}/api"  # whom the browser asks
            again = finetide(root, "up").stdout
            assert "server:      up already" in again
            assert "worker:      up already" in again
            assert f"deployments: as before, of {MODEL}" in again
            running = up.read(root)
            assert running is not None
            yield Machine(root, root / "drop" / MODEL, running)
    finally:
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("PREFECT_API_URL", raising=False)
            finetide(root, "down", check=False)
    assert processes.find(running.server) is None
    assert processes.find(running.worker) is None
    assert "nothing is up" in finetide(root, "down").stdout
    assert len(psutil.Process().children(recursive=True)) <= len(before)


def test_a_dropped_file_leads_to_a_promotion_and_nobody_touches_anything(machine: Machine, tmp_path: Path) -> None:
    before = run(machine.root, "git", "status", "--porcelain").stdout
    head = run(machine.root, "git", "rev-parse", "HEAD").stdout
    assert before == ""
    source = write_csv(tmp_path / "airline.csv", rows(120, "airline", 2))
    shutil.copy(source, machine.drop / "airline.csv.part")
    (machine.drop / "airline.csv.part").rename(machine.drop / "airline.csv")
    if PICTURES:
        take(machine.until(machine.half_trained, "a training that is under way"), "training-progress")
    machine.until(lambda: machine.events() == ["promoted", "promoted"], "a second promotion")
    promoted = machine.until(
        lambda: next((one for one in machine.runs("retrain") if one["state"]["name"] == "Promoted"), None), "its end"
    )
    assert promoted["name"] == f"{MODEL}: promoted v2 (shift adapt)"
    assert {"finetide", MODEL, "promoted"} <= set(promoted["tags"])
    looked = [one for one in machine.runs("monitor") if one["state"]["name"] == "Wanted"]
    assert looked
    assert looked[-1]["name"] == f"{MODEL}: retraining wanted, shift adapt"
    # What is in service moved, and the checkout did not.
    found = read_alias(machine.root, MODEL)
    assert found is not None
    assert found.version == "v2"
    assert run(machine.root, "git", "status", "--porcelain").stdout == before
    assert run(machine.root, "git", "rev-parse", "HEAD").stdout == head
    assert (machine.drop / "airline.csv").read_bytes() == source.read_bytes()
    artifacts = machine.ask("/artifacts/latest/filter", {"limit": 200})
    keys = {one["key"] for one in artifacts}
    wanted = ("files", "validate", "shift", "shift-tests", "training", "metrics", "export", "judge", "verdicts", "card",
              "history", "report")  # fmt: skip
    assert {f"{MODEL}-{name}" for name in wanted} <= keys
    take(machine.page(promoted), "scheduled-run")
    take(machine.page(promoted), "scheduled-artifacts", clicks=["Artifacts"])


def test_the_checkout_learns_of_it_with_its_own_next_run_and_trains_nothing(machine: Machine) -> None:
    said = finetide(machine.root, "run").stdout
    assert "airline.csv: known from the run that the ledger's entry 2 is about" in said
    assert f"{MODEL}: promoted (" in said
    assert machine.events() == ["promoted", "promoted"]
    journal = (machine.root / ".finetide" / "journal" / f"{MODEL}.jsonl").read_text()
    assert journal.count('"stage": "train", "state": "ran"') == 1  # that of v1
    chain = finetide(machine.root, "why", MODEL).stdout
    assert "decision   promoted v2, " in chain
    assert "in service v2 (" in chain


def test_an_idle_scheduled_retraining_takes_fifteen_seconds_at_most(machine: Machine) -> None:
    """From the flow's first line to its end; what it takes to start a process is the machine's."""
    deployment = machine.ask(f"/deployments/name/retrain/retrain-{MODEL}")
    begun = machine.ask(f"/deployments/{deployment['id']}/create_flow_run", {"state": {"type": "SCHEDULED"}})
    ended = machine.until(
        lambda: (one := machine.ask(f"/flow_runs/{begun['id']}")) and one["end_time"] and one, "its end"
    )
    assert ended["state"]["name"] == "Unchanged", ended["state"]
    print(f"an idle retraining took {ended['total_run_time']:.1f} s at a load of {os.getloadavg()[0]:.1f}")
    if os.getloadavg()[0] > 2 * (os.cpu_count() or 1):
        pytest.skip("this machine is busy with other work: no time can be told")
    assert ended["total_run_time"] <= 15


def halted(machine: Machine, name: str, seed: int, *, turned: bool = False) -> dict[str, Any]:
    """Drop rows of an unknown kind without labels; the run that asks a person about them.

    Args: turned: messages are written backwards, for once the others are known.
    """
    table = rows(150, "bank", seed, labelled=False)
    write_csv(machine.drop / name, [{**row, "body": row["body"][::-1]} for row in table] if turned else table)
    machine.until(lambda: waiting.read(machine.root, MODEL), "a run that waits")

    def suspended() -> dict[str, Any] | None:
        found = waiting.read(machine.root, MODEL)
        one = machine.ask(f"/flow_runs/{found.flow_run}") if found else None
        return one if one and one["state"]["name"] == "Suspended" else None

    found: dict[str, Any] = machine.until(suspended, "its suspension")
    return found


def test_a_halted_run_waits_and_the_command_line_lets_it_go_on(machine: Machine) -> None:
    asked = halted(machine, "unlabelled.csv", 5)
    assert asked["name"] == f"{MODEL}: waits for a person"
    assert "waiting    " in finetide(machine.root, "status").stdout
    take(machine.page(asked), "approval-form", clicks=["Resume"])
    said = finetide(machine.root, "approve", MODEL, "--why", "new bank, labels follow", "--who", "ann").stdout
    assert "the waiting run goes on: " in said
    ended = machine.until(
        lambda: (one := machine.ask(f"/flow_runs/{asked['id']}")) and one["end_time"] and one, "its end after a yes"
    )
    assert ended["state"]["name"] in ("Promoted", "Rejected", "NotNeeded"), ended["state"]
    entries = ledger.read(machine.root, MODEL)
    approved = [entry for entry in entries if entry.event == "approved"]
    assert [(entry.who, entry.reason) for entry in approved] == [("ann", "new bank, labels follow")]
    assert waiting.read(machine.root, MODEL) is None


def test_the_form_says_no_and_it_is_the_same_entry(machine: Machine) -> None:
    asked = halted(machine, "turned.csv", 6, turned=True)
    empty = machine.ask(f"/flow_runs/{asked['id']}/resume", {"run_input": {}})
    assert empty["status"] == "REJECT"
    assert "'decision' is a required property" in empty["details"]["reason"]
    form = {"decision": "reject", "who": "bob", "why": "labels first"}
    assert machine.ask(f"/flow_runs/{asked['id']}/resume", {"run_input": form})["status"] == "ACCEPT"
    machine.until(lambda: machine.events()[-1] == "refused", "the entry")
    entry = ledger.read(machine.root, MODEL)[-1]
    assert (entry.who, entry.reason) == ("bob", "labels first")
    ended = machine.until(
        lambda: (one := machine.ask(f"/flow_runs/{asked['id']}")) and one["end_time"] and one, "its end after a no"
    )
    assert ended["state"]["name"] == "Refused"
    # Nobody is asked twice: the next look knows of the refusal.
    known = machine.until(
        lambda: next((one for one in machine.runs("monitor") if one["start_time"] > ended["end_time"]), None), "a look"
    )
    ended = machine.until(lambda: (one := machine.ask(f"/flow_runs/{known['id']}")) and one["end_time"] and one, "it")
    assert (ended["state"]["name"], ended["state"]["message"]) == ("Known", "refused by bob: labels first")


def test_after_downtime_exactly_one_run_makes_up_for_those_that_were_missed(machine: Machine) -> None:
    """``missed: latest-only``: the worker is gone for three times the schedule's period, then `finetide up` again."""
    assert processes.stop(machine.running.worker)
    gone = datetime.now(UTC)
    time.sleep(190)
    back = datetime.now(UTC)
    assert "worker:      starting" in finetide(machine.root, "up").stdout
    running = up.read(machine.root)
    assert running is not None
    machine.running = running

    def missed() -> list[dict[str, Any]]:
        """Those that were due while nobody was there, once all of them have ended."""
        wanted = {"deployments": {"name": {"any_": [f"monitor-{MODEL}"]}}, "limit": 200}
        found: list[dict[str, Any]] = machine.ask("/flow_runs/filter", wanted) or []
        due = [one for one in found if gone < datetime.fromisoformat(one["expected_start_time"]) < back]
        return due if due and all(one["end_time"] for one in due) else []

    ended = machine.until(missed, "the end of the missed runs")
    assert len(ended) >= 2
    worked = [one for one in ended if one["state"]["name"] not in ("Skipped", "Busy")]
    assert len(worked) == 1, [(one["name"], one["state"]["message"]) for one in ended]
    skipped = [one for one in ended if one["state"]["name"] == "Skipped"]
    assert skipped
    assert all("did its work" in one["state"]["message"] for one in skipped)
