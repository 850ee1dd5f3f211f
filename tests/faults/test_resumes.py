"""A sample of what `make resumes` does: trainings killed from outside, resumed, compared byte for byte."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from faults.trainings import COMBINATIONS

PROGRAM = """
import sys
sys.path.insert(0, "tests")
from pathlib import Path
from faults.resumes import carry_out
carry_out(int(sys.argv[1]), Path(sys.argv[2]) / "tally.jsonl", Path(sys.argv[2]))
"""


@pytest.mark.parametrize("kills", [2, pytest.param(32, marks=pytest.mark.slow)])
def test_killed_and_resumed_a_training_ends_byte_equal(kills: int, tmp_path: Path) -> None:
    # A process of its own: one with threads cannot be forked safely.
    command = [sys.executable, "-c", PROGRAM, str(kills), str(tmp_path)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [json.loads(line) for line in (tmp_path / "tally.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["combination"] for line in lines] == [
        list(COMBINATIONS)[at % len(COMBINATIONS)] for at in range(kills)
    ]
    assert [line for line in lines if line["wrong"]] == []
    assert any(line["optimizers"] for line in lines)  # not only empty states compared with empty ones
