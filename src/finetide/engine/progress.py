"""What a person and ``dvc plots`` see while training runs."""

from __future__ import annotations

import csv
import io
import sys
import time
from dataclasses import asdict, fields
from pathlib import Path
from types import TracebackType
from typing import Self

from tqdm import tqdm

from finetide.engine.specs import CurveRow, PhaseResult
from finetide.files import write_text

SHARES = 10


class Curve:
    """curve.csv, written anew at each evaluation, so that ``dvc plots`` shows a run that is still at work."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[CurveRow] = []

    def add(self, row: CurveRow) -> None:
        self.rows.append(row)
        self.write()

    def restore(self, rows: list[CurveRow]) -> None:
        """Go on from the rows of a checkpoint."""
        self.rows = rows
        self.write()

    def write(self) -> None:
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        names = [field.name for field in fields(CurveRow)]
        writer.writerow(names)
        for row in self.rows:
            values = asdict(row)
            writer.writerow(["" if values[name] is None else _plain(values[name]) for name in names])
        write_text(self.path, stream.getvalue())


class Unwritten(Curve):
    """A curve of which no file is made."""

    def __init__(self) -> None:
        super().__init__(Path())

    def write(self) -> None:
        pass


def _plain(value: float | int) -> str:
    return str(value) if isinstance(value, int) else f"{value:.8g}"


def say(index: int, result: PhaseResult, metric: str) -> None:
    """A finished phase for the log: its score and every decision with its reason. Args: metric: the task's."""
    said = "masked tokens guessed" if result.kind == "adapt" else f"validation {metric}"
    print(f"phase {index + 1} {result.kind}: {said} {result.score.accuracy:.1%}", file=sys.stderr)
    for line in result.decisions:
        print(f"  {line}", file=sys.stderr, flush=True)


class Progress:
    """A bar on a terminal; elsewhere a line at each tenth of the way, for logs. Both say how long the rest will take,
    at the pace so far.

    Args: per_epoch: steps an epoch has.
    """

    def __init__(self, total: int, what: str, start: int = 0, *, per_epoch: int) -> None:
        self.total, self.what, self.done, self.note, self.per_epoch = total, what, start, "", per_epoch
        self.start, self.began = start, time.monotonic()
        self.bar = tqdm(
            total=total, initial=start, desc=what, unit="step", file=sys.stderr, disable=not sys.stderr.isatty()
        )

    def step(self, loss: float) -> None:
        before = self.done * SHARES // max(1, self.total)
        self.done += 1
        self.bar.update(1)
        told = ", ".join(part for part in (self.epoch(), f"loss {loss:.3f}", self.note) if part)
        self.bar.set_postfix_str(told, refresh=False)
        if self.bar.disable and self.done * SHARES // max(1, self.total) > before:
            said = f"{self.what}: step {self.done}/{self.total}, {told}, {self.remaining()} left"
            print(said, file=sys.stderr, flush=True)

    def epoch(self) -> str:
        return f"epoch {min(self.done, self.total) / self.per_epoch:.1f} of {self.total / self.per_epoch:.3g}"

    def remaining(self) -> str:
        """At the mean pace of this process's steps; a phase that stops early takes less."""
        taken = time.monotonic() - self.began
        return tqdm.format_interval(taken / max(1, self.done - self.start) * (self.total - self.done))

    def say(self, note: str) -> None:
        self.note = note

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.bar.close()
