"""A sample of served requests as unlabelled incoming rows: files that the drop folder takes in (docs/how-to/serve.md).

What is served comes first. `RequestLog.offer` neither raises nor waits: it draws, and hands over to a thread, which
redacts, collects, and writes whole files. What does not fit, or cannot be redacted, is dropped and counted.
"""

from __future__ import annotations

import atexit
import json
import os
import queue
import random
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from finetide.errors import InputError
from finetide.files import temporary_prefix

Redact = Callable[[dict[str, str]], Mapping[str, str] | None]
_WAITING_ROWS = 10_000
_CLOSE_SECONDS = 30.0


class RequestLog:
    """Writes JSONL files into a drop folder. One is enough for a process; threads may share it.

    Args:
        folder: the model's drop folder (`schedule.drop`), or any other; made if it is not there.
        columns: what the model's columns are called in its files: the text's, or those of question and context.
        rate: share of requests that are logged, above 0 up to 1.
        redact: gets a row, column → text, and returns the row to write, or None to leave it out. It runs in the log's
            thread. A row for which it raises, or returns anything else, is dropped: never written as it came.
        max_rows, max_bytes: a file ends at whichever comes first.
        flush_seconds: a file ends this long after its first row at the latest.

    Raises: InputError for a setting that makes no sense, OSError where the folder cannot be made.
    """

    def __init__(
        self,
        folder: str | Path,
        columns: Sequence[str],
        *,
        rate: float,
        redact: Redact,
        max_rows: int = 10_000,
        max_bytes: int = 8 * 2**20,
        flush_seconds: float = 3600.0,
    ) -> None:
        if isinstance(columns, str) or not columns or len(set(columns)) != len(columns):
            raise InputError("names the columns of a row, in a list", where="columns", found=columns)
        if not 0 < rate <= 1:
            raise InputError("is a share of the requests", where="rate", found=rate, fix="above 0, up to 1")
        for name, number in (("max_rows", max_rows), ("max_bytes", max_bytes), ("flush_seconds", flush_seconds)):
            if not number > 0:
                raise InputError("is above 0", where=name, found=number)
        self._folder, self._columns, self._rate, self._redact = Path(folder), tuple(columns), rate, redact
        self._max_rows, self._max_bytes, self._flush_seconds = max_rows, max_bytes, flush_seconds
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._begin()
        atexit.register(self.close)

    @property
    def counts(self) -> dict[str, int]:
        """``written``: rows in whole files; ``dropped``: rows that were drawn and are in none, for whatever reason."""
        return {"written": self._written, "dropped": self._dropped}

    def offer(self, values: Sequence[Any]) -> None:
        """Log each of the served inputs with the log's probability: a text for one column, else a pair, or a mapping
        of columns. Never raises; never waits for a disk, or for ``redact``."""
        try:
            drawn = [value for value in values if random.random() < self._rate]
            if drawn:
                self._start()
            for value in drawn:
                try:
                    self._queue.put_nowait(value)
                except queue.Full:
                    self._count(dropped=1)
        except Exception:  # whatever it is, the answer that is being served matters more
            self._count(dropped=1)

    def close(self) -> None:
        """Write what was handed over, and stop. A log that is offered more begins again."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None and self._pid == os.getpid():
            self._stop.set()
            thread.join(_CLOSE_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._queue: queue.Queue[Any] = queue.Queue(_WAITING_ROWS)
        self._stop = threading.Event()
        self._thread = None
        self._written = self._dropped = 0

    def _start(self) -> None:
        """A server that forks after it made the log has no thread in its children: each begins its own."""
        if self._pid != os.getpid():
            self._lock = threading.Lock()
            self._begin()
        with self._lock:
            if self._thread is None:
                self._stop = threading.Event()
                self._thread = threading.Thread(target=self._work, args=(self._stop,), name="request-log", daemon=True)
                self._thread.start()

    def _work(self, stop: threading.Event) -> None:
        lines: list[bytes] = []
        size, due = 0, float("inf")
        while not (stop.is_set() and self._queue.empty()):
            try:
                value = self._queue.get(timeout=min(max(due - time.monotonic(), 0.0), 0.2))
            except queue.Empty:
                line = None
            else:
                line = self._line(value)
                if line is None:
                    self._count(dropped=1)
            if line is not None and lines and size + len(line) > self._max_bytes:
                self._write(lines)
                lines, size = [], 0
            if line is not None:
                due = due if lines else time.monotonic() + self._flush_seconds
                lines.append(line)
                size += len(line)
            if lines and (len(lines) >= self._max_rows or size >= self._max_bytes or time.monotonic() >= due):
                self._write(lines)
                lines, size, due = [], 0, float("inf")
        if lines:
            self._write(lines)

    def _line(self, value: Any) -> bytes | None:
        """The redacted row as a line of JSON; None where it is left out."""
        try:
            row = self._redact(self._row(value))
            if row is None:
                return None
            kept = {name: row[name] for name in self._columns}
            if set(row) != set(kept) or not all(isinstance(text, str) and text.strip() for text in kept.values()):
                return None
            line = json.dumps(kept, ensure_ascii=False).encode() + b"\n"  # half a character has no UTF-8: left out
        except Exception:  # of whoever wrote ``redact``: what it did not clear is never written
            return None
        return line if len(line) <= self._max_bytes else None

    def _row(self, value: Any) -> dict[str, str]:
        if isinstance(value, Mapping):
            return {name: value[name] for name in self._columns}
        values = (value,) if isinstance(value, str) else tuple(value)
        return dict(zip(self._columns, values, strict=True))

    def _write(self, lines: list[bytes]) -> None:
        """A kill leaves a file that ends in .part, which the drop folder never takes, or the whole one."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        target = self._folder / f"served-{stamp}-{secrets.token_hex(4)}.jsonl"
        part = target.with_name(f"{temporary_prefix(target.name)}.part")
        try:
            with part.open("xb") as stream:
                stream.writelines(lines)
                stream.flush()
                os.fsync(stream.fileno())
            part.replace(target)
        except OSError:  # a full disk: served on, and counted
            self._count(dropped=len(lines))
            try:
                part.unlink(missing_ok=True)
            except OSError:
                return
        else:
            self._count(written=len(lines))

    def _count(self, *, written: int = 0, dropped: int = 0) -> None:
        with self._lock:
            self._written += written
            self._dropped += dropped
