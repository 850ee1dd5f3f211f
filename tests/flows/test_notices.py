"""Notices, from what happens to the webhook that hears of it: a real server, worker, block, rollback and flows."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from finetide.contracts.operate import Running
from finetide.errors import InputError
from finetide.operate import api, environment, processes, up
from support.desk import Desk
from support.project import edit_params, finetide
from support.registry import MODEL, git, make_project, promote

pytestmark = pytest.mark.filterwarnings("default")
REPOSITORY = Path(__file__).parents[2]
# Overwriting, as Prefect's client asks again where the server says 503, and the first asking may have been kept.
BLOCK = """
import sys
from prefect.blocks.notifications import CustomWebhookNotificationBlock as Webhook
said = {"subject": "{{subject}}", "body": "{{body}}"}
Webhook(name="desk", url=sys.argv[1], json_data=said).save("desk", overwrite=True)
"""
# Runs of the real flows, with nothing in them but their end.
ENDS = """
import sys
from finetide_flows import monitor, retrain
from prefect.states import Completed, Failed

def ends(flow, inner, state, times=1):
    def end(*_, **__):
        if isinstance(state, Exception):
            raise state
        return type(state)(**state.model_dump(include={"type", "name", "message"}))
    module = sys.modules[flow.fn.__module__]
    setattr(module, inner, end)
    for _ in range(times):
        flow("tickets", sys.argv[1], return_state=True)

{script}
"""


@dataclass
class Machine:
    root: Path
    running: Running
    desk: Desk

    def end_flows(self, script: str) -> None:
        env = environment.of_client(self.root, self.running.api)
        code = ENDS.replace("{script}", script)
        done = subprocess.run(
            [sys.executable, "-c", code, str(self.root)], cwd=self.root, env=env, capture_output=True, text=True,
            check=False, timeout=900,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def ask(self, path: str, body: object | None = None) -> Any:
        for _ in range(10):  # SQLite answers "service unavailable" while others write
            if (answer := api.ask(self.running.api, path, body, seconds=30)) is not None:
                return answer
            time.sleep(1)
        raise AssertionError(f"{path}: no answer")


def settings(params: Any) -> None:
    params["schedule"]["retrain"].update(cron=None)
    params["schedule"]["monitor"].update(every_minutes=None)
    params["schedule"]["notify"]["blocks"] = ["custom-webhook/desk"]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    root = make_project(tmp_path_factory.mktemp("notices") / "project")
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(REPOSITORY / name, root / name)
    edit_params(root, settings, MODEL)
    git(root, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qam", "params")
    promote(root, "one", at="2026-01-01T09:00:00+00:00")
    promote(root, "two", at="2026-01-02T09:00:00+00:00")
    with pytest.MonkeyPatch.context() as patch, Desk() as desk:
        patch.delenv("PREFECT_API_URL", raising=False)
        patch.delenv("PREFECT_HOME", raising=False)
        try:
            with pytest.raises(InputError) as caught:
                up.up(root, None, print)
            running = up.read(root)
            assert running is not None
            assert str(caught.value) == (
                "params.yaml: models.tickets.schedule.notify.blocks: the server has no such notification block; it has "
                f"none (found 'custom-webhook/desk')\n  fix: make it on {running.api.removesuffix('/api')}/blocks/"
                "catalog, or take it out, then finetide up"
            )
            env = environment.of_client(root, running.api)
            subprocess.run([sys.executable, "-c", BLOCK, desk.url], env=env, check=True, timeout=600)
            up.up(root, None, print)
            running = up.read(root)
            assert running is not None
            assert not running.sealed
            yield Machine(root, running, desk)
        finally:
            up.down(root, print)


@pytest.mark.slow
def test_a_rollback_by_hand_is_told_once_and_waits_for_nobody(machine: Machine) -> None:
    finetide(machine.root, "rollback", MODEL, "--why", "refunds went wrong")
    ((subject, body),) = machine.desk.take(1)
    assert subject == "tickets: v1 is back in service"
    assert "why:   v2 is withdrawn and never promoted again; refunds went wrong (" in body
    assert f"where: {machine.root} on " in body
    assert "next:  finetide history tickets" in body


@pytest.mark.slow
def test_each_end_of_a_run_is_told_in_its_words_and_the_same_one_once(machine: Machine) -> None:
    promote(machine.root, "three", at="2026-01-03T09:00:00+00:00")
    machine.end_flows("""
ends(retrain.retrain, "_retrain", Completed(name="Promoted", message="v3 is in service: three is better"))
ends(retrain.retrain, "_retrain", Failed(name="Halted", message="gate@tickets: labels are unknown"), times=2)
ends(retrain.retrain, "_retrain", ValueError("boom of process 123"))
ends(retrain.retrain, "_retrain", ValueError("boom of process 456"))
ends(monitor.monitor, "look", ValueError("no network"))
""")
    found = dict(machine.desk.take(4))
    assert set(found) == {
        "tickets: v3 is in service", "tickets: retrain halted, nothing was trained", "tickets: retrain failed",
        "tickets: monitor failed",
    }  # fmt: skip
    assert "why:   three is better (" in found["tickets: v3 is in service"]
    assert '       finetide rollback tickets --why "…"' in found["tickets: v3 is in service"]
    assert "why:   gate@tickets: labels are unknown\n" in found["tickets: retrain halted, nothing was trained"]
    assert "boom of process 123" in found["tickets: retrain failed"]
    page = f"run:   {machine.running.api.removesuffix('/api')}/runs/flow-run/"
    assert all(page in body for body in found.values())
    machine.end_flows('ends(retrain.retrain, "_retrain", Failed(name="Halted", message="gate@tickets: another"))')
    ((_, body),) = machine.desk.take(1)
    assert "gate@tickets: another" in body


@pytest.mark.slow
def test_a_question_is_told_with_its_answers(machine: Machine) -> None:
    machine.end_flows("""
from finetide_flows import approval
from prefect.exceptions import Pause
from prefect.states import Suspended

def suspend(**_):
    raise Pause(state=Suspended())

def halt(home, root, model, isolated):
    approval.ask(home, root, model, "shown", "gate@tickets: no labels", 72.0)

approval.suspend_flow_run = suspend
approval.waiting.standing = lambda *_: approval.waiting.Question("gate", "ab" * 32, None, "")
retrain._retrain = halt
try:
    retrain.retrain("tickets", sys.argv[1], return_state=True)
except Pause:
    pass
""")
    ((subject, body),) = machine.desk.take(1)
    assert subject == "tickets: a person is asked, what is in service stays until then"
    assert "why:   gate@tickets: no labels\n       unanswered, the run ends after 72 hours\n" in body
    assert 'next:  finetide why tickets\n       finetide approve tickets --why "…"\n' in body


def run_of(machine: Machine, kind: str = "retrain") -> str:
    """A run of the schedule that the server believes to be at work, and that nobody is at work on."""
    deployment = machine.ask(f"/deployments/name/{kind}/{kind}-{MODEL}")
    made = machine.ask(f"/deployments/{deployment['id']}/create_flow_run", {"state": {"type": "PENDING"}})
    state = {"state": {"type": "RUNNING", "name": "Running"}, "force": True}
    machine.ask(f"/flow_runs/{made['id']}/set_state", state)
    return str(made["id"])


@pytest.mark.slow
def test_what_fails_before_or_after_our_code_is_told_too(machine: Machine) -> None:
    run = run_of(machine)
    said = "The flow was paused and never resumed."
    machine.ask(f"/flow_runs/{run}/set_state", {"state": {"type": "FAILED", "name": "Failed", "message": said}})
    ((subject, body),) = machine.desk.take(1)
    assert subject == "tickets: a run failed"
    assert f"why:   {said}\n" in body
    assert f"/runs/flow-run/{run}\n" in body


@pytest.mark.slow
def test_a_run_that_crashes_is_told(machine: Machine) -> None:
    run = run_of(machine)
    lost = {"type": "CRASHED", "name": "Crashed", "message": "no heartbeat for 90 s"}
    machine.ask(f"/flow_runs/{run}/set_state", {"state": lost})
    ((subject, body),) = machine.desk.take(1)
    assert subject == "tickets: the process of a run is gone"
    assert "why:   no heartbeat for 90 s\n" in body
    assert "next:  finetide up\n" in body


@pytest.mark.long
def test_a_silent_run_and_a_dead_worker_are_told(machine: Machine) -> None:
    """Minutes: that is how long both may be late without being dead. A run of monitor: that one of retrain crashed was
    told a moment ago, and is not told again."""
    run = run_of(machine, "monitor")
    beat = {
        "event": "prefect.flow-run.heartbeat",
        "occurred": datetime.now(UTC).isoformat(),
        "id": str(uuid.uuid4()),
        "resource": {"prefect.resource.id": f"prefect.flow-run.{run}"},
    }
    machine.ask("/events", [beat])
    assert processes.stop(machine.running.worker)
    found = dict(machine.desk.take(2, seconds=420))
    assert set(found) == {"tickets: the process of a run is gone", "no worker: nothing that is scheduled runs"}
    assert "no heartbeat for 90 s" in found["tickets: the process of a run is gone"]
    assert "why:   worker finetide has not been heard of" in found["no worker: nothing that is scheduled runs"]
