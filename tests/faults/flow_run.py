"""`make flow-faults`: faults in scheduled runs, kept in a tally that a later call goes on with, and their page.

python tests/faults/flow_run.py --trials 280
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "src")]

from tqdm import tqdm  # noqa: E402

from faults.flow_trial import Fault, Kind, Known, Trial, run_trial, undisturbed  # noqa: E402
from faults.machine import machine  # noqa: E402

TALLY = ROOT / "docs" / "flow-faults.jsonl"
PAGE = ROOT / "docs" / "flow-faults.md"
SEED = 20261122
TRIALS = 280
KILLS: tuple[Kind, ...] = ("worker", "server", "stage", "tree")
# Of fourteen trials ten are kills, so that 280 have 200 of them and 20 of each other kind.
OTHERS: tuple[Kind, ...] = ("server-away", "remote-away", "disk-full", "cancel")
PERIOD = 10 + len(OTHERS)
SAID = {
    "worker": "the worker is killed", "server": "the server is killed, and up again at once",
    "stage": "the deepest process of the run is killed", "tree": "all is killed: server, worker, flow and stages",
    "server-away": "the server is killed, and up again after 2 to 20 s",
    "remote-away": "the DVC remote is away, and comes back", "disk-full": "the disk is full from some step on",
    "cancel": "the run is cancelled, as on the dashboard",
}  # fmt: skip


def plan(number: int, known: Known) -> Fault:
    """What is done in a trial, by its number and the length of an undisturbed run alone."""
    rng = random.Random(f"{SEED} {number}")
    place = number % PERIOD
    at = round(rng.uniform(0, known.seconds), 3)
    if place < 10:
        # Every tenth waits for what the server does by itself; where something lives on, that is nothing.
        kind = rng.choice(KILLS) if place < 9 else "tree"
        return Fault(number, kind, at, round(rng.uniform(0, 2), 1), waits=place == 9)
    kind = OTHERS[place - 10]
    if kind == "disk-full":
        return Fault(number, kind, rng.randint(1, known.steps))
    return Fault(number, kind, at * (1.5 if kind == "remote-away" else 1), round(rng.uniform(2, 20), 1))


def done() -> dict[int, dict[str, Any]]:
    if not TALLY.exists():
        return {}
    return {line["number"]: line for line in map(json.loads, TALLY.read_text(encoding="utf-8").splitlines())}


def carry_out(numbers: range, folder: Path) -> None:
    """Those that the tally lacks."""
    commit = subprocess.run(["git", "describe", "--always"], cwd=ROOT, capture_output=True, text=True, check=True)
    with machine(folder / "machine") as made:
        known = undisturbed(made)
        print(f"an undisturbed run takes {known.seconds:.1f} s", file=sys.stderr, flush=True)
        for number in tqdm([number for number in numbers if number not in done()], desc="trials"):
            found = run_trial(made, plan(number, known), known)
            with TALLY.open("a", encoding="utf-8") as stream:
                stream.write(found.as_line(commit.stdout.strip()) + "\n")
            if found.wrong:
                keep(made.home, folder / f"wrong-{number}", found)


def keep(home: Path, target: Path, found: Trial) -> None:
    """What a trial that went wrong left, to be looked at."""
    shutil.copytree(home, target / "project", symlinks=True)
    shutil.copytree(home.parents[1] / "forks", target / "forks")
    print(f"\n{found.fault}\n{found.struck}\n  {found.wrong}", file=sys.stderr, flush=True)


def page() -> str:
    lines = list(done().values())
    kinds = [kind for kind in SAID if any(line["kind"] == kind for line in lines)]
    of = {kind: [line for line in lines if line["kind"] == kind] for kind in kinds}
    wrong = [line for line in lines if line["wrong"]]
    kills = sum(len(of.get(kind, [])) for kind in KILLS)
    cancelled = [line["noted"]["cancelled"] for line in lines if "cancelled" in line["noted"]]
    marked = [line["noted"]["marked"] for line in lines if "marked" in line["noted"]]
    where = Counter(place(line) for line in lines)
    text = [
        "# Faults in scheduled runs",
        "",
        "Written by `make flow-faults` from `docs/flow-faults.jsonl`. Each line of it is one trial on a machine as",
        "`finetide up` makes it, with a real Prefect server and worker: a file is dropped, the deployment `retrain` is",
        "started, something goes wrong at a random moment, `finetide up` is called again, and `retrain` is started",
        "once more. Good means: outputs, ledger, alias and window are those of a run that nobody disturbed; the alias",
        "named the old champion, then the new one, at every moment; no stage that the server knows as completed ran",
        "again; no process lives on; no lock and no slot is held; nothing half-written is left; checkout and dropped",
        "file are as they were. After every tenth kill, one of everything, nothing is done until the server itself has",
        "marked the run that lost its process, and freed its slots ([On call](on-call.md)); after the others the trial",
        "does both through the server's interface, to save the two minutes.",
        "",
        "The flows are forked from a process that has everything imported; their processes, signals and Prefect's",
        "engine are those of a real one (`tests/support/flow_forks.py`). The disk is full for what Python opens or",
        "makes; git and compiled writers do not notice.",
        "",
        f"**{len(lines)} trials ({kills} kills): {len(lines) - len(wrong)} ended well, {len(wrong)} did not.**",
        "Two of an earlier round did not, were looked into, and were run again once that was mended: 172, a fault of",
        "the trial, and 212, a fault of ours ([lab log](lab-log.md)).",
        "",
        "| what goes wrong | trials | ended well |",
        "|---|---|---|",
        *(f"| {SAID[kind]} | {len(of[kind])} | {sum(not line['wrong'] for line in of[kind])} |" for kind in kinds),
        "",
        *([f"Cancelled runs had no process left after {max(cancelled):.1f} s at the latest.", ""] if cancelled else []),
        *([f"{len(marked)} runs that lost their process were marked by the server, after {max(marked):.0f} s at the "
           "latest.", ""] if marked else []),
        "| place struck | trials |",
        "|---|---|",
        *(f"| {name} | {count} |" for name, count in sorted(where.items(), key=lambda item: (-item[1], item[0]))),
        "",
    ]  # fmt: skip
    return "\n".join(text)


def place(line: dict[str, Any]) -> str:
    """Without seconds and names of files, so that like ones are counted together."""
    struck = str(line["struck"])
    if line["kind"] == "remote-away":
        return "remote away"
    return " ".join(struck.split()[:4]) if line["kind"] == "disk-full" else struck


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where the machine is made, or was by an earlier call, and stays")
    parser.add_argument("--trials", type=int, default=TRIALS, help="how many in all, those in the tally included")
    parser.add_argument("--first", type=int, default=0, help="where to begin: a second checkout takes the other half")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # server and worker go down with it
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="finetide-flow-faults-"))
    numbers = range(asked.first, asked.trials)
    if any(number not in done() for number in numbers):
        carry_out(numbers, folder)
    if not asked.folder and not list(folder.glob("wrong-*")):
        shutil.rmtree(folder)
    PAGE.write_text(page(), encoding="utf-8")
    print(next(line for line in page().splitlines() if line.startswith("**")))


if __name__ == "__main__":
    main()
