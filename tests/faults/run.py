"""`make faults`: kill after kill, kept in a tally that a later call goes on with, and docs/faults.md from it.

python tests/faults/run.py --kills 1000 --workers 2
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from tqdm import tqdm  # noqa: E402

from faults import template, trial  # noqa: E402
from faults.points import POINTS  # noqa: E402
from support.forked import Forks  # noqa: E402

TALLY = ROOT / "docs" / "faults.jsonl"
PAGE = ROOT / "docs" / "faults.md"
SEED = 20261121


def plan(number: int, seconds: float, steps: int) -> trial.Kill:
    """Of ten kills seven strike from outside at a uniform random time, two before a random step, one at a point."""
    rng = random.Random(f"{SEED} {number}")
    kind = number % 10
    if kind < 7:
        return trial.Kill(number, target=rng.choice(trial.TARGETS), at=round(rng.uniform(0, seconds), 3))
    if kind < 9:
        return trial.Kill(number, step=rng.randint(1, steps))
    return trial.Kill(number, point=list(POINTS)[(number // 10) % len(POINTS)])


def done() -> dict[int, dict[str, object]]:
    if not TALLY.exists():
        return {}
    lines = [json.loads(line) for line in TALLY.read_text(encoding="utf-8").splitlines()]
    return {line["number"]: line for line in lines}


def work(worker: int, workers: int, kills: int, folder: str) -> None:
    """Every ``workers``-th kill that the tally lacks, on a project of this worker's own."""
    home = Path(folder) / str(worker)
    commit = subprocess.run(
        ["git", "describe", "--always"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    with Forks("faults.points") as forks:
        made = template.fresh(home / "fresh")
        projects = {0: made, 1: template.serving(forks, home / "serving", made)}
        known = {key: trial.undisturbed(forks, path, home / "undisturbed") for key, path in projects.items()}
        missing = [number for number in range(kills) if number not in done() and number % workers == worker]
        for number in tqdm(missing, desc=f"kills, worker {worker}", position=worker, file=sys.stderr):
            key = 1 if number % 3 == 2 else 0
            expected, seconds, steps = known[key]
            found = trial.run_trial(forks, projects[key], home / "trial", plan(number, seconds, steps), expected)
            with TALLY.open("a", encoding="utf-8") as stream:
                stream.write(found.as_line(commit) + "\n")
            if found.wrong:
                (home / "trial").rename(home / f"wrong-{number}")
                print(f"\n{number}: {found.struck}\n  {found.wrong}\n{found.log}", file=sys.stderr, flush=True)


def place(line: dict[str, object]) -> str:
    """A place without numbers, so that like ones are counted together."""
    struck = str(line["struck"])
    how = "point" if "point" in line else "step" if "step" in line else "time"
    if how == "step":
        role, _, what = struck.partition(": before ")
        return f"{role}: before {what.split()[0] if what else struck}"
    return struck


def page() -> str:
    lines = list(done().values())
    wrong = [line for line in lines if line["wrong"]]
    repaired = [line for line in lines if line["repaired"]]
    missed = [line for line in lines if line["struck"] == "not reached" or str(line["struck"]).startswith("ended")]
    counted = Counter(place(line) for line in lines)
    text = [
        "# Kills",
        "",
        "Written by `make faults` from `docs/faults.jsonl`. Each line of it is one trial: `finetide run` on a micro",
        "model, a SIGKILL, then `finetide run` again. Good means: the second run ends with 0, with the hashes, ledger",
        "entries and alias of a run that nobody killed; nothing that was reported as done runs again; no process lives",
        "on; nothing half-written is left.",
        "",
        f"**{len(lines)} kills: {len(lines) - len(wrong)} equal endings, {len(wrong)} others.** "
        + ("" if wrong or not lines else f"Other endings are fewer than {3 / len(lines):.1%} (at 95 %). ")
        + f"In {len(repaired)} the second run said that it repaired something; {len(missed)} struck after the end.",
        "",
        "| place struck | kills |",
        "|---|---|",
        *(f"| {name} | {count} |" for name, count in sorted(counted.items(), key=lambda item: (-item[1], item[0]))),
        "",
    ]
    return "\n".join(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000, help="how many in all, those in the tally included")
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="finetide-faults-")
    processes = [
        multiprocessing.get_context("spawn").Process(target=work, args=(index, asked.workers, asked.kills, folder))
        for index in range(asked.workers)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if all(process.exitcode == 0 for process in processes) and not list(Path(folder).glob("*/wrong-*")):
        shutil.rmtree(folder)
    PAGE.write_text(page(), encoding="utf-8")
    print(page().splitlines()[7])


if __name__ == "__main__":
    main()
