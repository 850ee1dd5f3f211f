"""Thirty days of a project on a schedule: looks at 06:00 and 18:00, retrainings some nights and when a look asks."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from finetide.contracts.ledger import LedgerEntry
from finetide.contracts.operate import DropRecord, Seen
from finetide.files import sha256_file
from finetide.lifecycle import isolate
from finetide.registry import history, ledger
from finetide.registry.alias import read_alias
from support.forked import Forks
from support.project import MODEL, environment
from support.scheduled import GROWS, NOW

FIRST = datetime(2026, 3, 1, tzinfo=UTC)
LOOKS = (timedelta(hours=6), timedelta(hours=18))
NIGHT = timedelta(hours=3, minutes=15)
# schedule.cool_down_minutes: after one shift event further ones start nothing for so long.
QUIET_AFTER_AN_EVENT = timedelta(minutes=720)
# A run that found nothing to do since the last decision.
IDLE = ("Known", "Unchanged")
RUNS = {"look": "look", "train": "retraining", "person": "a person"}
NUMBER = re.compile(r"\d+\.\d+(e-?\d+)?|(?<=verdict )[0-9a-f]{12}")


HEADER = """# A month on a schedule

Thirty days of one model on a schedule ([how to](how-to/schedule.md)), with every kind of arrival: what was done, what
became of the files, what each run decided, and why. The model is tiny and the rows are made up; the decisions are those
of the two scheduled flows, at the times given. Written by `make month`; `tests/acceptance/test_month.py` plays it
again, holds it against what should happen, and compares this page, measured numbers aside.

A look at 06:00 and at 18:00; a retraining at 03:15 on seven nights, and a minute after a look that wants one. Set in
`policy`: `cool_down_days: 3`, `every_days: 5`, `min_new_labels: 60`, `max_loss: 0.1`. Files are dropped before the
first look of a day. A late file is one that is not whole yet when a look comes.

## Day by day

A line is left out where nothing was done and a run found nothing new, or said what the one before had said.
"""
BETWEEN = """## The ledger

All of it. A halt, a refused file and a duplicate leave no entry: nothing was decided about them.
"""


@dataclass(frozen=True)
class Line:
    """One line of the table. ``done``: what people and programs had done since the line before; ``files``: what became
    of dropped ones; ``ledger``: the entries that this added; ``served``: the version in service after it."""

    day: int
    time: str
    done: str
    files: tuple[str, ...]
    run: str
    outcome: str
    why: str
    ledger: tuple[str, ...]
    served: str


@dataclass
class Month:
    """``lines``: what was done or decided, in order; ``idle``: how often each flow found nothing new. ``growing``: a
    file in the drop folder and what its writer appends to it while the next look watches."""

    forks: Forks
    home: Path
    lines: list[Line] = field(default_factory=list)
    idle: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    entries: int = 0
    growing: tuple[str, str] | None = None
    _done: list[str] = field(default_factory=list)
    _last: dict[str, tuple[str, str]] = field(default_factory=dict)
    _started: datetime | None = None
    _dropped: dict[str, str] = field(default_factory=dict)
    _seen: dict[str, Seen] = field(default_factory=dict)
    _raw: dict[str, str] = field(default_factory=dict)

    @property
    def drop(self) -> Path:
        return self.home / "drop" / MODEL

    @property
    def worktree(self) -> Path:
        return isolate.worktree_path(self.home, MODEL)

    def note(self, what: str) -> None:
        """What was done to the drop folder, for the table; its files must stay as they are now."""
        self._done.append(what)
        self._dropped = _hashes(self.drop)

    def person(self, day: int, hour: int, *arguments: str) -> str:
        """``finetide ARGUMENTS`` in the checkout. Returns what it printed."""
        at = FIRST + timedelta(days=day - 1, hours=hour)
        ended = self._fork(at, "command", list(arguments), self.home)
        assert ended.code == 0, ended.output
        self._done.append(f"`finetide {' '.join(arguments)}`")
        self._write(at, "person", "Done", "")
        return ended.output

    def night(self, day: int) -> None:
        """The scheduled retraining of that day."""
        self._train(FIRST + timedelta(days=day - 1) + NIGHT, "schedule")

    def look(self, day: int, number: int) -> None:
        """A scheduled look, and the retraining that its event starts."""
        at = FIRST + timedelta(days=day - 1) + LOOKS[number]
        more = {}
        if self.growing is not None:
            more = {GROWS: json.dumps({"file": str(self.drop / self.growing[0]), "text": self.growing[1]})}
        found = self._flow(at, "look", [MODEL, str(self.home)], more)
        if found["events"] and (self._started is None or at >= self._started + QUIET_AFTER_AN_EVENT):
            self._started = at
            self._train(at + timedelta(minutes=1), "event")

    def seen(self) -> dict[str, tuple[str, str]]:
        """Name of a dropped file → what became of it at last, and why."""
        return {name: (seen.outcome, seen.why) for name, seen in self._seen.items()}

    def _train(self, at: datetime, reason: str) -> None:
        self._flow(at, "train", [MODEL, str(self.home), reason])

    def _flow(self, at: datetime, entry: str, arguments: list[str], more: dict[str, str] | None = None) -> Any:
        ended = self._fork(at, entry, arguments, self.home, more)
        assert ended.code == 0, ended.output
        assert "Traceback" not in ended.output, ended.output
        found = json.loads(ended.output.splitlines()[-1])
        if os.environ.get("FT_SHOW"):
            print(f"{at:%m-%d %H:%M} {entry} {found['name']}: {found['message']}", flush=True)
        self.runs += 1
        if more and self.growing is not None:
            self._dropped[self.growing[0]] = sha256_file(self.drop / self.growing[0])
            self.growing = None
        self._write(at, entry, found["name"], found["message"])
        self._check()
        return found

    def _fork(
        self, at: datetime, entry: str, arguments: list[str], folder: Path, more: dict[str, str] | None = None
    ) -> Any:
        env = {**environment(), NOW: at.isoformat(timespec="seconds"), **(more or {})}
        return self.forks.call(folder, arguments, self.home.parent / "log", env, entry=entry)

    def _write(self, at: datetime, entry: str, name: str, message: str) -> None:
        """A line of the table, unless nothing was done and the run says what the one before said."""
        entries = ledger.read(self.home, MODEL)
        fresh, self.entries = entries[self.entries :], len(entries)
        same = (name, message) == self._last.get(entry)
        self._last[entry] = (name, message)
        if not self._done and not fresh and (same or name in IDLE):
            self.idle[entry] += 1
            return
        added = tuple(f"{one.event} {one.version or ''}".strip() for one in fresh)
        champion = history.champion(entries)
        served = champion.version if champion and champion.version else ""
        done, self._done = "; ".join(self._done), []
        day, time, files = (at - FIRST).days + 1, f"{at:%H:%M}", self._newly_seen()
        self.lines.append(Line(day, time, done, files, RUNS[entry], name, message, added, served))

    def _newly_seen(self) -> tuple[str, ...]:
        path = self.home / ".finetide" / "drop" / f"{MODEL}.json"
        record = DropRecord.read(path).files if path.exists() else ()
        fresh = [seen for seen in record if self._seen.get(seen.name) != seen]
        self._seen = {seen.name: seen for seen in record}
        return tuple(f"{seen.name}: {seen.outcome}" for seen in fresh)

    def _check(self) -> None:
        """Nothing in drop/ or raw/ is ever changed or deleted, and the alias is what the ledger says."""
        assert _hashes(self.drop) == self._dropped
        raw = _hashes(self.worktree / "data" / MODEL / "raw")
        assert self._raw.items() <= raw.items()
        self._raw = raw
        champion, alias = history.champion(ledger.read(self.home, MODEL)), read_alias(self.home, MODEL)
        assert champion is not None
        assert alias is not None
        assert (alias.version, alias.hash) == (champion.version, champion.bundle_hash)


def masked(text: str) -> str:
    """Measured numbers are left out, so that two kinds of machines agree."""
    return NUMBER.sub("N", text)


def page(month: Month) -> str:
    """docs/month.md."""
    entries = ledger.read(month.home, MODEL)
    told = f"{month.runs} runs: {month.idle['look']} looks and {month.idle['train']} retrainings found nothing new.\n"
    return "\n".join([HEADER, told, table(month.lines), BETWEEN, entries_table(entries)])


def table(lines: Sequence[Line]) -> str:
    rows = [("day", "done since", "drop folder", "run", "outcome", "why", "ledger", "in service")]
    for one in lines:
        found = (", ".join(one.files), f"{one.time} {one.run}", one.outcome, one.why, ", ".join(one.ledger), one.served)
        rows.append((str(one.day), one.done, *found))
    return _markdown(rows)


def entries_table(entries: Sequence[LedgerEntry]) -> str:
    rows = [("entry", "time", "event", "incoming files", "why")]
    for one in entries:
        files = [file.path for file in one.window.paths("incoming")] if one.window else []
        event = f"{one.event} {one.version or ''}".strip()
        rows.append((str(one.sequence), one.time[5:16].replace("T", " "), event, ", ".join(files), one.reason))
    return _markdown(rows)


def _markdown(rows: Sequence[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(cell.replace('|', '/').replace(chr(10), ' ') for cell in row)} |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]]) + "\n"


def _hashes(folder: Path) -> dict[str, str]:
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix in (".csv", ".part"))
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in found}
