"""Two scheduled writers and a person who looks: runs of two models side by side, with `dvc status` in a loop.

    python tests/faults/beside.py --runs 50          # writes docs/beside.md

A project with two models. Round by round a file is dropped for each, and the scheduled retrainings of both run at the
same time, each in the model's worktree, on one DVC cache and one git repository. Meanwhile a loop asks `dvc status` in
the checkout, over and over, as an editor's plug-in would. Counted is every answer that speaks of a lock or of something
that is busy, whoever gets it.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests")]

from ruamel.yaml import YAML  # noqa: E402
from tqdm import tqdm  # noqa: E402

from faults import template  # noqa: E402
from finetide.registry import ledger  # noqa: E402
from support.forked import Forks  # noqa: E402
from support.messages import rows, write_csv  # noqa: E402
from support.project import MODEL, environment, finetide, run  # noqa: E402
from support.scheduled import NOW  # noqa: E402

PAGE = ROOT / "docs" / "beside.md"
OTHER = "post"
LOCKED = re.compile(r"acquire lock|LockError|is busy|blocked by|[a-z]+\.lock': File exists|Traceback")
FIRST = datetime(2026, 3, 1, tzinfo=UTC)


@dataclass
class Found:
    """``runs``: (model, how it ended, why); ``looks``: seconds of each `dvc status`; ``locked``: what spoke of one."""

    runs: list[tuple[str, str, str]] = field(default_factory=list)
    looks: list[float] = field(default_factory=list)
    locked: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def two_models(folder: Path) -> Path:
    """A project whose second model has settings and data of the first."""
    root = template.fresh(folder) / "project"
    yaml = YAML()
    yaml.width = 4096
    params = yaml.load(root / "params.yaml")
    twin: Any = YAML(typ="safe").load(json.dumps(params["models"][MODEL]))
    twin["schedule"]["drop"] = f"drop/{OTHER}"
    for model in (params["models"][MODEL], twin):
        model["schedule"]["quiet_seconds"] = 0.1
    params["models"][OTHER] = twin
    yaml.dump(params, root / "params.yaml")
    for name in ("data", "approvals"):
        shutil.copytree(root / name / MODEL, root / name / OTHER)
    window = root / "data" / OTHER / "window.json"
    window.write_text(window.read_text().replace(f'"{MODEL}"', f'"{OTHER}"'))
    finetide(root, "check")
    run(root, "git", "add", "-A")
    run(root, "git", "commit", "-qm", "two models")
    for model in (MODEL, OTHER):
        (root / "drop" / model).mkdir(parents=True, exist_ok=True)
    return root


class Looks(threading.Thread):
    """`dvc status` in the checkout until `stop` is called."""

    def __init__(self, root: Path, found: Found) -> None:
        super().__init__(daemon=True)
        self._root, self._found, self._end = root, found, threading.Event()

    def run(self) -> None:
        while not self._end.is_set():
            started = time.monotonic()
            done = run(self._root, sys.executable, "-m", "dvc", "status", check=False)
            self._found.looks.append(time.monotonic() - started)
            if done.returncode != 0 or LOCKED.search(done.stdout + done.stderr):
                self._found.locked.append(
                    f"dvc status ended with {done.returncode}: {(done.stdout + done.stderr)[-400:]}"
                )

    def stop(self) -> None:
        self._end.set()
        self.join(120)


def play(folder: Path, runs: int) -> Found:
    """Args: runs: of both models together."""
    root, found = two_models(folder / "made"), Found()
    looks = Looks(root, found)
    with Forks(module="support.scheduled") as forks:
        looks.start()
        try:
            for number in tqdm(range(runs // 2), desc="rounds", file=sys.stderr):
                _round(forks, root, folder, number, found)
        finally:
            looks.stop()
    for model in (MODEL, OTHER):
        entries = ledger.read(root, model)  # raises where the chain is broken
        if len(entries) < runs // 2:
            found.wrong.append(f"{model}: {len(entries)} ledger entries after {runs // 2} runs")
    left = subprocess.run(
        ["git", "status", "--porcelain"], cwd=root, env=environment(), capture_output=True, text=True, check=True
    ).stdout
    if left:
        found.wrong.append(f"the checkout was changed: {left}")
    return found


def _round(forks: Forks, root: Path, folder: Path, number: int, found: Found) -> None:
    now = (FIRST + timedelta(days=number)).isoformat()
    pids = {}
    for place, model in enumerate((MODEL, OTHER)):
        kind = ("bank", "airline", "shop")[(number + place) % 3]
        write_csv(root / "drop" / model / f"{kind}-{number}.csv", rows(40, kind, 1000 + 2 * number + place))
        log = folder / f"{model}.log"
        log.unlink(missing_ok=True)
        env = {**environment(), NOW: now}
        arguments = [model, str(root), "schedule"]
        pids[model] = forks.start(root, arguments, log, env, entry="train")
    for model, pid in pids.items():
        code = forks.wait(pid, 600)
        said = (folder / f"{model}.log").read_text(encoding="utf-8", errors="replace")
        ended = json.loads(said.splitlines()[-1]) if code == 0 else {"name": f"exit {code}", "message": said[-400:]}
        found.runs.append((model, ended["name"], str(ended["message"]).partition("\n")[0]))
        if code != 0 or ended["name"] in ("Busy", "Failed"):
            found.wrong.append(f"round {number}, {model}: {ended['name']}: {ended['message']}")
            (folder / f"wrong-{number}-{model}.log").write_text(said, encoding="utf-8")
        if LOCKED.search(said):
            found.locked.append(f"round {number}, {model}: {said[-400:]}")


def page(found: Found) -> str:
    names = sorted({name for _, name, _ in found.runs})
    lines = [
        "# Side by side",
        "",
        "Written by `tests/faults/beside.py`, which says what is played: scheduled retrainings of two models at the",
        "same time, and `dvc status` in a loop in the checkout.",
        "",
        f"**{len(found.runs)} runs beside {len(found.looks)} answers of `dvc status`: {len(found.locked)} spoke of a "
        f"lock, {len(found.wrong)} went wrong.**",
        "",
        "| how it ended | runs |",
        "|---|---:|",
        *(f"| {name} | {sum(one == name for _, one, _ in found.runs)} |" for name in names),
        "",
        *(f"* {one}" for one in [*found.locked, *found.wrong]),
    ]
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=50)
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="finetide-beside-"))
    found = play(folder, asked.runs)
    if found.wrong or found.locked:
        print(f"what was left, to be looked at: {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder)
    PAGE.write_text(page(found), encoding="utf-8")
    print(page(found))


if __name__ == "__main__":
    main()
