"""Served requests come in as unlabelled rows: whole files only, redacted or not at all, and serving never waits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from finetide.config.ingest import ColumnParams, IngestParams
from finetide.contracts.window import Window, WindowFile
from finetide.data.ingest import ingest
from finetide.errors import InputError
from finetide.files import sha256_file
from finetide.registry import raw
from finetide.runtime import RequestLog


def as_it_is(row: dict[str, str]) -> dict[str, str]:
    return row


def written(folder: Path) -> list[dict[str, Any]]:
    """Rows of the files that the drop folder would look at."""
    return [
        json.loads(line) for path in sorted(raw.candidates(folder)) for line in path.read_text("utf-8").splitlines()
    ]


def test_what_was_served_comes_in_as_unlabelled_incoming_rows(tmp_path: Path) -> None:
    folder = tmp_path / "drop"
    with RequestLog(folder, ["body"], rate=1.0, redact=as_it_is) as log:
        log.offer(["where is my parcel", "wo bleibt „es“\nheute? 🌊", '{"label": "refund"}'])
    (path,) = raw.candidates(folder)
    window = Window(
        model="mail", start="base", champion=None,
        files=(WindowFile(path=path.name, sha256=sha256_file(path), role="incoming"),),
    )  # fmt: skip
    columns = ColumnParams(text="body", label="intent", split="side", group=None)
    rows = ingest(window, folder, IngestParams(columns=columns, encoding="auto")).rows
    assert rows["text"].tolist() == ["where is my parcel", "wo bleibt „es“\nheute? 🌊", '{"label": "refund"}']
    assert set(rows["role"]) == {"incoming"}
    assert rows["label"].isna().all()
    assert log.counts == {"written": 3, "dropped": 0}


def test_questions_are_rows_of_two_columns(tmp_path: Path) -> None:
    with RequestLog(tmp_path, ["question", "context"], rate=1.0, redact=as_it_is) as log:
        log.offer([("who", "he"), {"question": "what", "context": "it"}, "neither", ("one",)])
    assert written(tmp_path) == [{"question": "who", "context": "he"}, {"question": "what", "context": "it"}]
    assert log.counts == {"written": 2, "dropped": 2}


@pytest.mark.parametrize(
    "redacted",
    [None, "secret", {}, {"body": None}, {"body": ""}, {"body": "  "}, {"body": "half \ud83d"}, {"other": "x"},
     {"body": "x", "intent": "refund"}],
)  # fmt: skip
def test_a_row_that_is_not_redacted_to_a_row_is_dropped(tmp_path: Path, redacted: Any) -> None:
    with RequestLog(tmp_path, ["body"], rate=1.0, redact=lambda _: redacted) as log:
        log.offer(["secret"])
    assert list(tmp_path.iterdir()) == []
    assert log.counts == {"written": 0, "dropped": 1}


def test_a_hook_that_raises_never_lets_the_row_through(tmp_path: Path) -> None:
    def redact(row: dict[str, str]) -> Mapping[str, str]:
        if "card" in row["body"]:
            raise ValueError("cannot tell where the number ends")
        return {"body": row["body"].replace("ann", "NAME")}

    with RequestLog(tmp_path, ["body"], rate=1.0, redact=redact) as log:
        log.offer(["ann asks", "my card is 4711", "thanks, ann"])
    assert written(tmp_path) == [{"body": "NAME asks"}, {"body": "thanks, NAME"}]
    assert log.counts == {"written": 2, "dropped": 1}


def test_about_the_wanted_share_is_drawn(tmp_path: Path) -> None:
    with RequestLog(tmp_path, ["body"], rate=0.1, redact=as_it_is) as log:
        for number in range(5000):
            log.offer([f"request {number}"])
    assert 350 < log.counts["written"] < 650  # seven standard deviations
    assert log.counts["written"] == len(written(tmp_path))


def test_files_end_by_rows_by_bytes_and_by_time(tmp_path: Path) -> None:
    for name, limit, files in (("rows", {"max_rows": 2}, 3), ("bytes", {"max_bytes": 45}, 3)):
        with RequestLog(tmp_path / name, ["body"], rate=1.0, redact=as_it_is, **limit) as log:  # type: ignore[arg-type]
            log.offer([f"request {number}" for number in range(5)])  # 21 bytes each
        assert len(list((tmp_path / name).iterdir())) == files
        assert all(path.stat().st_size <= 45 for path in (tmp_path / name).iterdir())
    with RequestLog(tmp_path / "time", ["body"], rate=1.0, redact=as_it_is, flush_seconds=0.05) as log:
        log.offer(["one"])
        end = time.monotonic() + 20
        while not written(tmp_path / "time"):
            assert time.monotonic() < end
            time.sleep(0.02)
    with RequestLog(tmp_path / "long", ["body"], rate=1.0, redact=as_it_is, max_bytes=45) as log:
        log.offer(["x" * 100])  # no file could hold it
    assert log.counts == {"written": 0, "dropped": 1}


def test_serving_neither_waits_nor_fails(tmp_path: Path) -> None:
    held = threading.Event()

    def slow(row: dict[str, str]) -> dict[str, str]:
        held.wait(60)
        return row

    log = RequestLog(tmp_path / "drop", ["body"], rate=1.0, redact=slow)
    begun = time.monotonic()
    log.offer(["x"] * 12_000)
    log.offer(7)  # type: ignore[arg-type]
    assert time.monotonic() - begun < 5
    assert log.counts["dropped"] >= 1_999
    (tmp_path / "drop").rmdir()  # and the disk is gone
    (tmp_path / "drop").write_text("")
    held.set()
    log.close()
    assert log.counts == {"written": 0, "dropped": 12_001}


def test_many_threads_lose_and_double_nothing(tmp_path: Path) -> None:
    with RequestLog(tmp_path, ["body"], rate=1.0, redact=as_it_is, max_rows=97) as log:
        threads = [threading.Thread(target=lambda k=k: [log.offer([f"{k} {n}"]) for n in range(200)]) for k in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {row["body"] for row in written(tmp_path)} == {f"{k} {n}" for k in range(8) for n in range(200)}
    assert log.counts == {"written": 1600, "dropped": 0}


PROGRAM = """
import os, signal, sys
from finetide.runtime.requests import RequestLog
log = RequestLog(sys.argv[1], ["body"], rate=1.0, redact=lambda row: row)
"""


def program(folder: Path, code: str) -> int:
    return subprocess.run([sys.executable, "-c", PROGRAM + code, str(folder)], check=False, timeout=60).returncode


def test_a_kill_in_the_middle_of_a_file_leaves_nothing_to_take_in(tmp_path: Path) -> None:
    code = "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\nlog.offer(['one', 'two'])\nlog.close()"
    assert program(tmp_path, code) == -9
    assert [path.suffix for path in tmp_path.iterdir()] == [".part"]
    assert written(tmp_path) == []


def test_what_was_offered_is_written_at_the_end_of_the_program_and_of_its_children(tmp_path: Path) -> None:
    code = """
log.offer(["parent"])
if os.fork() == 0:
    log.offer(["child"])
    log.close()
    os._exit(0)
os.wait()
"""
    assert program(tmp_path, code) == 0
    assert sorted(row["body"] for row in written(tmp_path)) == ["child", "parent"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"columns": "body"}, "columns: names the columns of a row, in a list (found 'body')"),
        ({"columns": []}, "columns: names the columns of a row, in a list (found [])"),
        ({"rate": 0}, "rate: is a share of the requests (found 0)\n  fix: above 0, up to 1"),
        ({"rate": 1.5}, "rate: is a share of the requests (found 1.5)\n  fix: above 0, up to 1"),
        ({"max_rows": 0}, "max_rows: is above 0 (found 0)"),
        ({"flush_seconds": float("nan")}, "flush_seconds: is above 0 (found nan)"),
    ],
)
def test_settings_that_make_no_sense(tmp_path: Path, wrong: dict[str, Any], said: str) -> None:
    columns, rate = wrong.pop("columns", ["body"]), wrong.pop("rate", 1.0)
    with pytest.raises(InputError) as caught:
        RequestLog(tmp_path / "drop", columns, rate=rate, redact=as_it_is, **wrong)
    assert str(caught.value) == said
    assert os.listdir(tmp_path) == []
