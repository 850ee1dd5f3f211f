"""What a person is told of scheduled runs, and how it gets to Prefect's server, whose automations send it on.

A notice is an event ``finetide.notice.KIND`` that carries its text. The texts are written here and nowhere else, so
that flows, command line and automations say the same. Nothing here imports Prefect.
"""

from __future__ import annotations

import platform
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from finetide.config.params import model_params
from finetide.config.schedule import Kind
from finetide.errors import FinetideError
from finetide.files import sha256_bytes
from finetide.operate import up
from finetide.operate.api import ask
from finetide.registry import history, ledger

# A command of a person waits no longer than this for a server, whatever is wrong with it or with the network.
TELL_SECONDS = 2.0
# Chat services cut longer texts, at places that we would not choose.
WHY_LIMIT = 1500
HEADLINES: dict[Kind, str] = {
    "failed": "{model}: {run} failed",
    "halted": "{model}: {run} halted, nothing was trained",
    "approval-wanted": "{model}: a person is asked, what is in service stays until then",
    "promoted": "{model}: {version} is in service",
    "rolled-back": "{model}: {version} is back in service",
    "crashed": "{model}: the process of a run is gone",
    "worker-gone": "no worker: nothing that is scheduled runs",
}
# What to type next, the likeliest first.
NEXT: dict[Kind, tuple[str, ...]] = {
    "failed": ("finetide status {model}", "finetide run {model}"),
    "halted": ("finetide why {model}", 'finetide exclude {model} FILE --why "…"', 'finetide approve {model} --why "…"'),
    "approval-wanted": (
        "finetide why {model}", 'finetide approve {model} --why "…"', 'finetide reject {model} --why "…"',
    ),
    "promoted": ("finetide why {model}", 'finetide rollback {model} --why "…"'),
    "rolled-back": ("finetide history {model}", 'finetide exclude {model} FILE --why "…"'),
    "crashed": ("finetide up", "finetide status {model}"),
    "worker-gone": ("finetide up",),
}  # fmt: skip


@dataclass(frozen=True)
class Notice:
    """``cause``: notices of one cause are one and the same, told again only after ``schedule.notify.again_minutes``."""

    kind: Kind
    model: str
    subject: str
    body: str
    cause: str


def compose(
    kind: Kind,
    model: str,
    why: str,
    *,
    root: Path,
    run: str = "run",
    version: str = "",
    page: str | None = None,
    cause: str | None = None,
) -> Notice:
    """What happened, why, where, and what to type next.

    Args:
        run: which kind of run it was, e.g. ``retrain``.
        version: of a promotion or rollback.
        page: address of the run on the dashboard.
        cause: what makes it the same as another; else the reason itself.
    """  # fmt: skip
    subject = HEADLINES[kind].format(model=model, run=run, version=version)
    said = why.strip() or "no reason was given"
    lines = [f"why:   {_cut(said)}".replace("\n", "\n       "), f"where: {root} on {platform.node()}"]
    lines += [f"run:   {page}"] if page else []
    commands = [command.format(model=model) for command in NEXT[kind]]
    lines += [f"next:  {commands[0]}", *(f"       {command}" for command in commands[1:])]
    key = cause if cause is not None else f"{run} {said}"
    return Notice(kind, model, subject, "\n".join(lines), sha256_bytes(f"{kind} {model} {key}".encode())[:16])


def of_failure(model: str, why: str, *, root: Path, run: str, page: str | None = None) -> Notice:
    """Failures whose first lines differ in numbers alone (a process id, a time) are the same."""
    first = re.sub(r"\d+", "0", (why.strip().splitlines() or [""])[0])
    return compose("failed", model, why, root=root, run=run, page=page, cause=f"{run} {first}")


def of_last_move(root: Path, model: str, *, page: str | None = None) -> Notice:
    """The promotion or rollback that put into service what is in service; the ledger has at least one."""
    entries = ledger.read(root, model)
    move = history.last_move(entries)
    assert move is not None
    left = entries[move.sequence - 2] if move.event == "rolled-back" else None
    before = f"{left.version} is withdrawn and never promoted again; " if left and left.event == "withdrawn" else ""
    kind: Kind = "rolled-back" if move.event == "rolled-back" else "promoted"
    why = f"{before}{move.reason} ({move.who})"
    return compose(kind, model, why, root=root, version=move.version or "", page=page, cause=str(move.sequence))


def event_of(notice: Notice, pool: str) -> dict[str, Any]:
    """Name, resource and payload of the event, as Prefect takes them."""
    return {
        "event": event_name(notice.kind),
        "resource": {
            "prefect.resource.id": resource(notice.model, pool),
            "prefect.resource.name": notice.model,
            "finetide.cause": notice.cause,
        },
        "payload": {"model": notice.model, "kind": notice.kind, "subject": notice.subject, "body": notice.body},
    }


def event_name(kind: Kind) -> str:
    return f"finetide.notice.{kind}"


def resource(model: str, pool: str) -> str:
    """The id that events of a model carry. On a server that others use too, the pool tells our models from theirs."""
    return f"finetide.model.{model}{suffix(pool)}"


def suffix(pool: str) -> str:
    return pool.removeprefix(up.POOL)


@contextmanager
def announced(root: Path, model: str, say: Callable[[str], None]) -> Iterator[None]:
    """Tell of the promotion or rollback that is made inside, if one is. Args: say: gets what `tell` returns."""
    if up.api_of(root) is None:
        yield
        return
    before = history.last_move(ledger.read(root, model))
    yield
    move = history.last_move(ledger.read(root, model))
    if move is not None and move != before and (note := tell(root, of_last_move(root, model))):
        say(note)


def tell(root: Path, notice: Notice) -> str | None:
    """Hand a notice to the server that is up for this project, if one is, within TELL_SECONDS.

    Returns: what to say where somebody wanted to be told of it, and nobody is. A notice never fails a command.
    """
    api = up.api_of(root)
    if api is None:
        return None
    state = up.read(root)
    said = event_of(notice, state.pool if state else up.POOL)
    event = {**said, "occurred": datetime.now(UTC).isoformat(), "id": str(uuid.uuid4())}
    answers: list[Any] = []
    # In a thread: a timeout of the socket does not cover looking a name up.
    asking = threading.Thread(
        target=lambda: answers.append(ask(api, "/events", [event], seconds=TELL_SECONDS)), daemon=True
    )
    asking.start()
    asking.join(TELL_SECONDS)
    if answers == [True] or not _is_wanted(root, notice):
        return None
    return f"nobody was told: {api} does not answer"


def _is_wanted(root: Path, notice: Notice) -> bool:
    try:
        notify = model_params(root, notice.model).schedule.notify
    except FinetideError:
        return False
    return bool(notify.blocks) and notice.kind in notify.about


def _cut(text: str) -> str:
    return text if len(text) <= WHY_LIMIT else f"{text[:WHY_LIMIT].rstrip()} …"
