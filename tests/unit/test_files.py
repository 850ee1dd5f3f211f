from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from finetide.files import SEAL, broken, seal, sweep, temporary_prefix, write_bytes

KILLED = """
import os, sys
from pathlib import Path
from finetide import files
files.os.replace = lambda *_: os.kill(os.getpid(), 9)
files.write_bytes(Path(sys.argv[1]), b"new")
"""


def test_a_seal_is_of_every_file_and_of_no_other(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_text("1")
    assert broken(tmp_path) == ""
    assert broken(tmp_path / "nowhere") == ""
    seal(tmp_path)
    assert broken(tmp_path) is None
    (tmp_path / "b").write_text("")
    assert broken(tmp_path) == "b"
    (tmp_path / "b").unlink()
    (tmp_path / "in" / "a").write_text("2")
    assert broken(tmp_path) == "in/a"
    for written in ("", "[]", '{"complete": true}', '{"files": 3}', "\xff"):
        (tmp_path / SEAL).write_bytes(written.encode("latin-1"))
        assert broken(tmp_path) == SEAL


def test_what_a_killed_writer_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "judge.json"
    write_bytes(target, b"old")
    ended = subprocess.run([sys.executable, "-c", KILLED, str(target)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert target.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 2
    others = [".gitignore", ".env.production", f"{temporary_prefix('live')}abcdefgh", ".week.csv.12-short"]
    for name in others:
        (tmp_path / name).write_text("")
    (tmp_path / f".bundle.{2**22 + 1}-abcdefgh" / "bundle").mkdir(parents=True)  # no such process can be
    sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["judge.json", *others])
    assert str(os.getpid()) in others[2]


def test_a_folder_that_is_not_there_is_swept(tmp_path: Path) -> None:
    sweep(tmp_path / "nowhere")
