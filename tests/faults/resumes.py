"""`make resumes`: trainings killed at random moments and resumed, kept in a tally that a later call goes on with, and
docs/resumes.md from it.

python tests/faults/resumes.py --kills 200
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))
# Before torch is loaded: a process with several threads cannot be forked safely.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1")

from tqdm import tqdm  # noqa: E402

from faults import trainings  # noqa: E402
from support.micro import micro_base  # noqa: E402

TALLY = ROOT / "docs" / "resumes.jsonl"
PAGE = ROOT / "docs" / "resumes.md"
SEED = 20261121
FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Undisturbed:
    ending: dict[str, Any]
    seconds: float


def start(base: Path, folder: Path, combination: str) -> multiprocessing.process.BaseProcess:
    """A training in a process of its own; what it prints goes to a file."""

    def child() -> None:
        log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        trainings.run(base, folder, combination)

    folder.mkdir(parents=True, exist_ok=True)
    process = FORK.Process(target=child)
    process.start()
    return process


def undisturbed(base: Path, folder: Path, combination: str) -> Undisturbed:
    started = time.monotonic()
    process = start(base, folder, combination)
    process.join()
    assert process.exitcode == 0, (folder / "log").read_text(encoding="utf-8")
    ending = json.loads((folder / "ending.json").read_text(encoding="utf-8"))
    found = Undisturbed(ending, time.monotonic() - started)
    shutil.rmtree(folder)
    return found


def trial(base: Path, folder: Path, number: int, combination: str, expected: Undisturbed) -> dict[str, Any]:
    """Kill at a uniform random time, resume, compare. ``wrong`` is empty when all is well; the folder is gone then."""
    at = round(random.Random(f"{SEED} {number}").uniform(0, expected.seconds), 3)
    first = start(base, folder, combination)
    first.join(at)
    first.kill()
    first.join()
    before = folder / "place"
    struck = before.read_text(encoding="utf-8").strip() or "elsewhere" if before.exists() else "start"
    struck = struck if first.exitcode == -signal.SIGKILL else "ended"
    (folder / "ending.json").unlink(missing_ok=True)
    second = start(base, folder, combination)
    second.join()
    log = (folder / "log").read_text(encoding="utf-8", errors="replace")
    line: dict[str, Any] = {"number": number, "combination": combination, "at": at, "struck": struck}
    line |= {"resumed": "resumed from a checkpoint" in log, "wrong": []}
    if second.exitcode != 0:
        line["wrong"].append(f"the second start ended with {second.exitcode}: {log[-2000:]}")
        return line
    found = json.loads((folder / "ending.json").read_text(encoding="utf-8"))
    ended_before = set(expected.ending["optimizers"]) - set(found["optimizers"])
    for name, value in expected.ending.items():
        if name == "optimizers":  # a phase that ended before the kill has none any more
            value = {phase: state for phase, state in value.items() if phase not in ended_before}
        if found[name] != value:
            line["wrong"].append(f"{name} differ")
    line["optimizers"] = len(found["optimizers"])
    if not line["wrong"]:
        shutil.rmtree(folder)
    return line


def done(tally: Path) -> dict[int, dict[str, Any]]:
    if not tally.exists():
        return {}
    return {line["number"]: line for line in map(json.loads, tally.read_text(encoding="utf-8").splitlines())}


def carry_out(kills: int, tally: Path, folder: Path) -> list[dict[str, Any]]:
    """The kills that the tally lacks, added to it; returns all of them."""
    base = folder / "base"
    micro_base(base)
    commit = subprocess.run(["git", "describe", "--always"], cwd=ROOT, capture_output=True, text=True, check=True)
    names = list(trainings.COMBINATIONS)
    known: dict[str, Undisturbed] = {}
    for number in tqdm([number for number in range(kills) if number not in done(tally)], desc="kills", unit="kill"):
        name = names[number % len(names)]
        known[name] = known.get(name) or undisturbed(base, folder / "undisturbed", name)
        line = trial(base, folder / f"trial-{number}", number, name, known[name])
        with tally.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({**line, "commit": commit.stdout.strip()}) + "\n")
    return list(done(tally).values())


def page(lines: list[dict[str, Any]]) -> str:
    wrong = [line for line in lines if line["wrong"]]
    resumed = sum(line["resumed"] for line in lines)
    struck = Counter(line["struck"] for line in lines)
    of = Counter(line["combination"] for line in lines)
    equal = Counter(line["combination"] for line in lines if not line["wrong"])
    text = [
        "# Resumed trainings",
        "",
        "Written by `make resumes` from `docs/resumes.jsonl`. Each line of it is one trial: a training of a micro",
        "model is killed (SIGKILL, at a uniform random time between its start and its end), started again, and",
        "compared with one that nobody killed: weights, the state of every optimizer, scores and decisions of every",
        "phase, the curve, the proof of freezing. All byte for byte, on a CPU.",
        "",
        f"**{len(lines)} kills: {len(lines) - len(wrong)} equal endings, {len(wrong)} others.** "
        f"{resumed} of the second starts found a checkpoint to go on from.",
        "",
        "| what was trained | kills | equal |",
        "|---|---|---|",
        *(f"| {name} | {of[name]} | {equal[name]} |" for name in trainings.COMBINATIONS),
        "",
        "| place struck | kills |",
        "|---|---|",
        *(f"| {name} | {count} |" for name, count in sorted(struck.items(), key=lambda item: (-item[1], item[0]))),
        "",
    ]
    return "\n".join(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="how many in all, those in the tally included")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="finetide-resumes-"))
    lines = carry_out(asked.kills, TALLY, folder)
    if not any(line["wrong"] for line in lines):
        shutil.rmtree(folder)
    PAGE.write_text(page(lines), encoding="utf-8")
    print(page(lines).splitlines()[7])


if __name__ == "__main__":
    main()
