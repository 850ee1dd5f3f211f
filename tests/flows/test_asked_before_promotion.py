"""A run that asks about a promotion: it suspends, and goes on by the form or by the command line, in the same way.

The flow's own functions on outputs of a whole run, without a server and without DVC; the last test has both.
"""

from __future__ import annotations

import logging
import shutil
import socket
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from finetide.contracts.judge import JudgeVerdict
from finetide.lifecycle import conclude, outputs, waiting
from finetide.lifecycle.conclude import decide
from finetide.operate import api, up
from finetide.operate.notices import Notice
from finetide.pipeline import journal
from finetide.registry import ledger, store
from support.artifacts import PROJECT, Artifacts
from support.messages import rows, write_csv
from support.project import MODEL as MAIL
from support.project import edit_params, finetide, micro_project, run
from support.registry import MODEL, make_bundle, make_project

pytestmark = pytest.mark.filterwarnings("default")
REASON = "a person is asked before a first version goes into service (policy.ask_before): one is better"


class Stage:
    """In place of the server: which run is at work, what its form says, and what the flow had done."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.run: Any = SimpleNamespace(id="run 1", deployment_id="retrain")
        self.form: dict[str, str] | None = None
        self.shown = ""
        self.submitted: list[list[str]] = []
        self.cancelled: list[str] = []
        self.told: list[Notice] = []

    def go(self, run: str = "run 1", *, isolated: bool = True) -> tuple[str, str]:
        """One run of the flow's body: its end and what it says; ``suspended`` where it asks."""
        from finetide_flows import retrain
        from prefect.exceptions import Pause

        self.run.id = run
        self.submitted.clear()
        try:
            ended = retrain._retrain(self.root, self.root, MODEL, isolated)
        except Pause:
            return "suspended", ""
        return str(ended.name), str(ended.message)

    def suspend(self, *, wait_for_input: Any, timeout: int, key: str) -> Any:
        from prefect.exceptions import Pause

        self.shown = wait_for_input._description
        assert timeout == 72 * 3600
        assert key.startswith("promotion-")
        if self.form is None:
            raise Pause
        return wait_for_input(**self.form)

    def read_flow_run(self, name: str) -> Any:
        return SimpleNamespace(id=name, state=SimpleNamespace(is_paused=lambda: name not in self.cancelled))

    def set_flow_run_state(self, name: str, _state: Any, *, force: bool) -> None:
        self.cancelled.append(name)

    def events(self) -> list[str]:
        return [entry.event for entry in ledger.read(self.root, MODEL)]


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    root = make_project(tmp_path / "project")
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(PROJECT / name, root / name)
    made = Artifacts(root, MODEL)
    for part in (made.ingest, made.quality, made.split, made.shift, made.gate, made.train, made.evaluate, made.export):
        part()
    made.judge()
    edit_params(root, lambda params: params["policy"].update(ask_before=["first"]), MODEL)
    journal.append(root, MODEL, stage="train", state="ran", seconds=41.0)
    challenger(root, "one")
    found = Stage(root)
    _without_server(found, monkeypatch)
    return found


def challenger(root: Path, content: str) -> None:
    """What was trained and judged last."""
    made = make_bundle(root / "artifacts" / "made", content)
    for source, (part, name) in zip(made, (("export", "bundle"), ("train", "model")), strict=True):
        target = outputs.path_of(root, MODEL, part, name)
        shutil.rmtree(target)
        shutil.copytree(source, target)
    digest = store.bundle_hash(outputs.path_of(root, MODEL, "export", "bundle"))
    path = outputs.path_of(root, MODEL, "judge", "judge.json")
    said = {"challenger_hash": digest, "champion_hash": None, "reason": f"{content} is better", "verdict": "promote"}
    JudgeVerdict.read(path).model_copy(update=said).write(path)


def _without_server(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    from finetide_flows import approval, artifacts, notices, place, retrain

    graph = {f"gate@{MODEL}": [], f"train@{MODEL}": [f"gate@{MODEL}"]}
    monkeypatch.setattr(conclude, "dirty", lambda *_: set())
    monkeypatch.setattr(conclude, "read", lambda _: {})
    for name, instead in {
        "get_run_logger": lambda: logging.getLogger("asked"),
        "advance_window": lambda *_: [],
        "graph_of": lambda *_: graph,
        "repin": lambda *_: ([], set()),
        "submit_stages": lambda _root, _graph, only, _stale, _futures: stage.submitted.append(only),
        "_failure": lambda *_: None,
        "policy": lambda *_: {"train": True},
        "promotion": retrain.promotion.fn,
    }.items():
        monkeypatch.setattr(retrain, name, instead)
    for name, instead in {
        "_run": lambda: stage.run,
        "get_client": lambda **_: nullcontext(stage),
        "suspend_flow_run": stage.suspend,
        "emit_event": lambda *_, **__: None,
        "SETTLE_SECONDS": 0,
    }.items():
        monkeypatch.setattr(approval, name, instead)
    monkeypatch.setattr(artifacts, "after_run", lambda *_: None)
    monkeypatch.setattr(place, "rename", lambda *_: None)
    monkeypatch.setattr(notices, "send", lambda _home, notice: stage.told.append(notice))


def test_it_suspends_and_shows_what_is_to_be_decided(stage: Stage) -> None:
    assert stage.go() == ("suspended", "")
    asked = waiting.read(stage.root, MODEL)
    assert asked is not None
    assert (asked.about, asked.flow_run, asked.reason) == ("promotion", "run 1", REASON)
    assert asked.verdict_hash == waiting.verdict_of(stage.root, MODEL)
    (notice,) = stage.told
    assert notice.subject == f"{MODEL}: a person is asked, what is in service stays until then"
    assert f"why:   {REASON}\n       unanswered, the run ends after 72 hours\n" in notice.body
    assert stage.shown.startswith(f"**{MODEL}: a challenger waits.** {REASON}\n\n- all, ")
    for part in (
        "\n- shift: **adapt**, Incoming rows can be told from reference rows",
        "\n\n**approve** puts exactly this challenger into service; **reject** leaves what is there. It cost 41 s "
        "(train 41 s).\n\n",
        f'The same from a terminal: `finetide approve {MODEL} --why "…"`, or `finetide reject`.',
    ):
        assert part in stage.shown
    assert stage.events() == []


def test_the_forms_yes_promotes_and_only_the_gate_runs_again(stage: Stage) -> None:
    stage.go()
    stage.form = {"decision": "approve", "who": "ann", "why": "as agreed"}
    name, said = stage.go()
    assert (name, said) == ("Promoted", "v1 is in service: one is better; approved by ann: as agreed")
    assert stage.events() == ["approved", "promoted"]
    assert stage.submitted[-1] == [f"gate@{MODEL}"]
    assert waiting.read(stage.root, MODEL) is None
    assert stage.go("run 2")[0] == "Unchanged"


def test_the_forms_no_rejects_it_and_nobody_is_asked_again(stage: Stage) -> None:
    stage.go()
    stage.form = {"decision": "reject", "who": "bob", "why": "labels first"}
    assert stage.go() == ("Rejected", "refused by bob: labels first")
    assert stage.events() == ["refused", "rejected"]
    assert stage.go("run 2")[0] == "Unchanged"


def test_the_command_lines_yes_is_the_same(stage: Stage) -> None:
    stage.go()
    assert waiting.place_of_decision(stage.root, MODEL) == stage.root
    decide(stage.root, MODEL, "approved", "as agreed", "ann")
    stage.form = {"decision": "approve", "who": "ann", "why": "as agreed"}  # what resumes the run
    assert stage.go()[0] == "Promoted"
    assert stage.events() == ["approved", "promoted"]
    assert waiting.read(stage.root, MODEL) is None


def test_while_one_run_waits_another_ends_at_once(stage: Stage) -> None:
    stage.go()
    assert stage.go("run 2") == ("Waiting", f"another run waits for a person: {REASON}")
    assert stage.submitted == []
    assert stage.cancelled == []
    asked = waiting.read(stage.root, MODEL)
    assert asked is not None
    assert asked.flow_run == "run 1"


def test_another_challenger_asks_anew_and_withdraws_the_older_question(stage: Stage) -> None:
    stage.go()
    challenger(stage.root, "two")
    assert stage.go("run 2")[0] == "suspended"
    assert stage.cancelled == ["run 1"]
    asked = waiting.read(stage.root, MODEL)
    assert asked is not None
    assert asked.flow_run == "run 2"
    assert asked.reason.endswith("two is better")


def test_a_question_that_is_none_any_more_ends_the_run_that_waits(stage: Stage) -> None:
    stage.go()
    edit_params(stage.root, lambda params: params["policy"].update(ask_before=[]), MODEL)
    assert stage.go("run 2")[0] == "Promoted"
    assert stage.cancelled == ["run 1"]
    assert waiting.read(stage.root, MODEL) is None


def test_a_run_by_hand_says_so_and_ends(stage: Stage) -> None:
    assert stage.go(isolated=False) == ("Waiting", REASON)
    assert waiting.read(stage.root, MODEL) is None
    assert stage.told == []


PATIENCE_SECONDS = 1500


def until(condition: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(1)
    raise AssertionError(f"{what}: not within {PATIENCE_SECONDS} s")


@pytest.mark.slow
def test_a_real_run_is_trained_once_waits_and_goes_on_after_a_yes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PREFECT_API_URL", "PREFECT_HOME"):
        monkeypatch.delenv(name, raising=False)
    root = micro_project(tmp_path, [write_csv(tmp_path / "shop.csv", rows(150, "shop", 1))])

    def change(params: Any) -> None:
        params["policy"]["ask_before"] = ["first"]
        params["schedule"]["retrain"]["cron"] = None
        params["schedule"]["monitor"]["every_minutes"] = None

    edit_params(root, change)
    run(root, "git", "add", "-A")
    run(root, "git", "commit", "-qm", "the project as init wrote it")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    try:
        finetide(root, "up", "--port", str(port))
        running = up.read(root)
        assert running is not None

        def look(path: str, body: object | None = None) -> Any:
            # SQLite answers "service unavailable" while others write
            return until(lambda: api.ask(running.api, path, body, seconds=60), path)

        deployment = look(f"/deployments/name/retrain/retrain-{MAIL}")
        begun = look(f"/deployments/{deployment['id']}/create_flow_run", {"state": {"type": "SCHEDULED"}})["id"]

        def state() -> Any:
            return look(f"/flow_runs/{begun}")["state"]

        under_way = ("SCHEDULED", "PENDING", "RUNNING")
        asked = until(lambda: (one := state())["type"] not in under_way and one, "a question")
        assert asked["name"] == "Suspended", asked
        assert ledger.read(root, MAIL) == []
        assert "a first version goes into service (policy.ask_before): accuracy" in finetide(root, "status").stdout
        answered = time.monotonic()
        said = finetide(root, "approve", MAIL, "--why", "as agreed", "--who", "ann").stdout
        assert f"{MAIL}: approved challenger " in said
        assert "the waiting run goes on: " in said
        ended = until(lambda: (one := state())["type"] not in ("PAUSED", *under_way) and one, "its end")
        print(f"from the yes to the promotion: {time.monotonic() - answered:.0f} s")
        assert (ended["name"], ended["message"][:18]) == ("Promoted", "v1 is in service: "), ended
        assert ended["message"].endswith("; approved by ann: as agreed")
    finally:
        finetide(root, "down", check=False)
    assert [entry.event for entry in ledger.read(root, MAIL)] == ["approved", "promoted"]
    events = journal.read(root / ".finetide" / "worktrees" / MAIL, MAIL)
    ran = [event["stage"] for event in events if event.get("state") == "ran"]
    assert ran == [*outputs.STAGES, "gate"]
    assert waiting.read(root, MAIL) is None
