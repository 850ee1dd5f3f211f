"""The texts of notices, word for word, and how they reach the server, or do not. tests/flows sends them for real."""

from __future__ import annotations

import json
import platform
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from finetide.config.schedule import Kind
from finetide.contracts.operate import Running
from finetide.errors import InputError, ToolError
from finetide.operate import blocks, environment, notices, up
from finetide.operate.notices import Notice, announced, compose, of_failure, of_last_move, tell
from finetide.registry import service
from support.artifacts import PROJECT
from support.project import edit_params
from support.registry import MODEL, make_project, promote

HERE = Path("/srv/support")
PAGE = "http://127.0.0.1:4200/runs/flow-run/7"
GOLDEN: dict[Kind, str] = {
    "failed": """mail: retrain failed
why:   git fell over
where: /srv/support on box
run:   PAGE
next:  finetide status mail
       finetide run mail""",
    "halted": """mail: retrain halted, nothing was trained
why:   git fell over
where: /srv/support on box
run:   PAGE
next:  finetide why mail
       finetide exclude mail FILE --why "…"
       finetide approve mail --why "…\"""",
    "approval-wanted": """mail: a person is asked, what is in service stays until then
why:   git fell over
where: /srv/support on box
run:   PAGE
next:  finetide why mail
       finetide approve mail --why "…"
       finetide reject mail --why "…\"""",
    "promoted": """mail: v2 is in service
why:   git fell over
where: /srv/support on box
run:   PAGE
next:  finetide why mail
       finetide rollback mail --why "…\"""",
    "rolled-back": """mail: v2 is back in service
why:   git fell over
where: /srv/support on box
run:   PAGE
next:  finetide history mail
       finetide exclude mail FILE --why "…\"""",
    "crashed": """mail: the process of a run is gone
why:   git fell over
where: /srv/support on box
run:   PAGE
next:  finetide up
       finetide status mail""",
    "worker-gone": """no worker: nothing that is scheduled runs
why:   git fell over
where: /srv/support on box
run:   PAGE
next:  finetide up""",
}


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "node", lambda: "box")
    monkeypatch.delenv("PREFECT_API_URL", raising=False)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_project(tmp_path_factory.mktemp("notices") / "project")
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(PROJECT / name, root / name)
    promote(root, "one")
    promote(root, "two")
    return root


@pytest.fixture
def root(history: Path, tmp_path: Path) -> Path:
    """v2 is in service; a copy of its own."""
    return Path(shutil.copytree(history, tmp_path / "project", symlinks=True))


@pytest.mark.parametrize("kind", GOLDEN)
def test_each_kind_says_what_where_why_and_what_to_type(kind: Kind) -> None:
    said = compose(kind, "mail", "git fell over", root=HERE, run="retrain", version="v2", page=PAGE)
    assert f"{said.subject}\n{said.body}" == GOLDEN[kind].replace("PAGE", PAGE)


def test_a_reason_of_many_lines_is_set_in_and_a_long_one_is_cut() -> None:
    said = compose("failed", "mail", "git failed\n  fix: mend it", root=HERE)
    assert said.body.startswith("why:   git failed\n         fix: mend it\nwhere: ")
    assert "run:" not in said.body
    long = compose("failed", "mail", "x" * 5000, root=HERE).body
    assert len(long) < 1700
    assert "x …\nwhere: " in long
    assert "why:   no reason was given\n" in compose("failed", "mail", " ", root=HERE).body


def test_failures_that_differ_in_numbers_are_one_and_others_are_not() -> None:
    def cause(why: str, run: str = "monitor") -> str:
        return of_failure("mail", why, root=HERE, run=run).cause

    assert cause("process 12 holds it\nsince 3:15") == cause("process 999 holds it\nsince 4:15")
    assert len({cause("git failed"), cause("DVC failed"), cause("git failed", "retrain")}) == 3


def test_halts_of_another_reason_are_others_and_models_too() -> None:
    causes = {compose("halted", model, why, root=HERE).cause for model in ("a", "b") for why in ("3 rows", "4 rows")}
    assert len(causes) == 4
    assert compose("halted", "a", "3 rows", root=HERE).cause in causes


def test_a_promotion_and_a_rollback_are_told_as_the_ledger_has_them(root: Path) -> None:
    said = of_last_move(root, MODEL)
    assert (said.kind, said.subject) == ("promoted", "tickets: v2 is in service")
    assert said.body.startswith("why:   two is better (")
    service.rollback(root, MODEL, reason="refunds went wrong", who="ann")
    back = of_last_move(root, MODEL)
    assert (back.kind, back.subject) == ("rolled-back", "tickets: v1 is back in service")
    assert back.body.startswith("why:   v2 is withdrawn and never promoted again; refunds went wrong (ann)\n")
    assert back.cause != said.cause


def test_the_event_names_model_kind_and_cause_and_on_a_shared_server_the_folder() -> None:
    said = Notice("halted", "mail", "subject", "body", "cause")
    assert notices.event_of(said, "finetide-shop-0a1b2c") == {
        "event": "finetide.notice.halted",
        "resource": {
            "prefect.resource.id": "finetide.model.mail-shop-0a1b2c",
            "prefect.resource.name": "mail",
            "finetide.cause": "cause",
        },
        "payload": {"model": "mail", "kind": "halted", "subject": "subject", "body": "body"},
    }
    assert notices.resource("mail", up.POOL) == "finetide.model.mail"


class Server:
    """Prefect's HTTP interface as far as notices call it."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.asked: list[tuple[str, Any]] = []
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                asked.append((self.path, body))
                code, answer = answers[self.path]
                self.send_response(code)
                self.end_headers()
                self.wfile.write(answer.encode())

            def log_message(self, *_: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.api = f"http://127.0.0.1:{self._server.server_port}/api"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


BLOCKS = json.dumps(
    [
        {"name": "ops", "id": "1", "block_type": {"slug": "slack-webhook"}},
        {"name": "desk", "id": "2", "block_type": {"slug": "custom-webhook"}},
    ]
)


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server({"/api/events": (204, ""), "/api/block_documents/filter": (200, BLOCKS)})
    yield found
    found.close()


def is_up(root: Path, api: str) -> None:
    up.write(root, Running(api=api, pool=up.POOL, server=None, worker=None, deployed=None))


def test_a_move_by_hand_reaches_the_server_once_and_nothing_else_does(root: Path, server: Server) -> None:
    is_up(root, server.api)
    said: list[str] = []
    with announced(root, MODEL, said.append):
        pass
    assert server.asked == []
    with announced(root, MODEL, said.append):
        service.rollback(root, MODEL, reason="refunds went wrong")
    ((path, (event,)),) = server.asked
    assert (path, event["event"], event["payload"]["subject"]) == (
        "/api/events", "finetide.notice.rolled-back", "tickets: v1 is back in service",
    )  # fmt: skip
    assert {"occurred", "id", "resource"} <= set(event)
    assert said == []


def test_without_a_server_nothing_is_asked_nor_said(root: Path) -> None:
    said: list[str] = []
    with announced(root, MODEL, said.append):
        service.rollback(root, MODEL, reason="refunds went wrong")
    assert said == []


def test_where_somebody_wanted_to_know_and_nobody_can_it_is_said(root: Path) -> None:
    notice = of_last_move(root, MODEL)
    is_up(root, "http://127.0.0.1:1/api")
    assert tell(root, notice) is None  # nobody asked for notices
    edit_params(root, lambda params: params["schedule"]["notify"].update(blocks=["slack-webhook/ops"]), MODEL)
    assert tell(root, notice) == "nobody was told: http://127.0.0.1:1/api does not answer"
    edit_params(root, lambda params: params["schedule"]["notify"].update(about=["failed"]), MODEL)
    assert tell(root, notice) is None
    (root / "params.yaml").write_text("torn: [")
    assert tell(root, notice) is None


def test_a_server_that_hangs_holds_nobody_up(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither one that never answers, nor a name that takes for ever to look up, which no socket's timeout covers."""
    monkeypatch.setattr(notices, "TELL_SECONDS", 0.5)
    notice = of_last_move(root, MODEL)
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        is_up(root, f"http://127.0.0.1:{mute.getsockname()[1]}/api")
        began = time.monotonic()
        tell(root, notice)
        assert time.monotonic() - began < 5
    found = threading.Event()
    monkeypatch.setattr(notices, "ask", lambda *_, **__: found.wait(60))
    began = time.monotonic()
    tell(root, notice)
    assert time.monotonic() - began < 5
    found.set()


def test_blocks_are_found_by_type_and_name(server: Server) -> None:
    found = blocks.find(server.api, {"mail": ["custom-webhook/desk"], "faq": ["slack-webhook/ops"]})
    assert found == {"custom-webhook/desk": "2", "slack-webhook/ops": "1"}
    (_, question) = server.asked[0]
    assert question == {"block_schemas": {"block_capabilities": {"all_": ["notify"]}}}


def test_a_block_that_the_server_lacks_is_named_with_those_it_has(server: Server) -> None:
    with pytest.raises(InputError) as caught:
        blocks.find(server.api, {"mail": ["slack-webhook/ops"], "faq": ["slack-webhook/opps"]})
    assert str(caught.value) == (
        "params.yaml: models.faq.schedule.notify.blocks: the server has no such notification block; it has "
        "custom-webhook/desk, slack-webhook/ops (found 'slack-webhook/opps')\n  fix: make it on "
        f"{server.api.removesuffix('/api')}/blocks/catalog, or take it out, then finetide up"
    )


def test_without_blocks_the_server_is_not_asked_and_one_that_is_away_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "TRIES", (0.0, 0.0))
    assert blocks.find("http://127.0.0.1:1/api", {"mail": []}) == {}
    with pytest.raises(ToolError) as caught:
        blocks.find("http://127.0.0.1:1/api", {"mail": ["slack-webhook/ops"]})
    assert str(caught.value) == (
        "http://127.0.0.1:1/api: did not say which notification blocks it has\n  fix: finetide up again"
    )


def test_only_a_server_that_tells_somebody_may_leave_the_machine(tmp_path: Path) -> None:
    told: Any = {"mail": {"notify": {"blocks": []}}, "faq": {"notify": {"blocks": ["slack-webhook/ops"]}}}
    assert blocks.are_wanted(told)
    assert not blocks.are_wanted({"mail": told["mail"]})
    sealed = environment.of_server(tmp_path, "http://127.0.0.1:4200/api", sealed=True)
    assert sealed["HTTPS_PROXY"] == "http://127.0.0.1:9"
    open_ = environment.of_server(tmp_path, "http://127.0.0.1:4200/api", sealed=False)
    assert open_.get("HTTPS_PROXY") != "http://127.0.0.1:9"
