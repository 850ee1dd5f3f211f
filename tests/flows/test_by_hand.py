"""`python flows/retrain.py MODEL`: what it says at its end, and its exit code, are those of `finetide run`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from finetide import report
from support.messages import rows, write_csv
from support.project import MODEL, environment, finetide, micro_project

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server"), pytest.mark.filterwarnings("default")]
FLOW = Path(__file__).parents[2] / "flows" / "retrain.py"


def by_hand(root: Path) -> subprocess.CompletedProcess[str]:
    from prefect.settings import PREFECT_API_URL

    env = {**environment(), "PREFECT_API_URL": str(PREFECT_API_URL.value()), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(FLOW), MODEL]
    return subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=False, timeout=600)


def closing(output: str) -> list[str]:
    lines = output.splitlines()
    first = max(number for number, line in enumerate(lines) if line.startswith(f"{MODEL}: "))
    return lines[first:]


def test_promoted_and_unchanged(tmp_path: Path) -> None:
    root = micro_project(tmp_path, [write_csv(tmp_path / "shop.csv", rows(150, "shop", 1))])
    done = by_hand(root)
    said = closing(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert said[0].startswith(f"{MODEL}: promoted: v1 is in service: ")
    assert said[1].startswith("  in service: v1 (")
    page = root / ".finetide" / "reports" / f"{MODEL}.html"
    assert said[2] == f"  report:     {page}"
    assert page.read_text(encoding="utf-8") == report.build(root, MODEL)  # of the end, not of a moment before
    again = by_hand(root)
    assert again.returncode == 0
    assert closing(again.stdout)[0].startswith(f"{MODEL}: promoted (nothing changed since): ")


def test_halted_says_what_finetide_run_says(tmp_path: Path) -> None:
    table = rows(150, "shop", 1)
    for row in table[:40]:
        row["body"] = ""
    root = micro_project(tmp_path, [write_csv(tmp_path / "shop.csv", table)])
    done = by_hand(root)
    said = closing(done.stdout)
    assert done.returncode == 3, done.stdout + done.stderr
    assert said[0].startswith(f"{MODEL}: halted: gate: ")
    assert Path(said[-2].removeprefix("  report:     ")).is_file()
    assert said[-1].startswith("  next:       look at the report, then finetide approve ")
    run = finetide(root, "run", MODEL, check=False)
    assert run.returncode == 3
    assert closing(run.stdout) == said
