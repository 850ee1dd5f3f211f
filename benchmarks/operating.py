"""What it costs to be watched, to have nothing to do, and to go back, each on a micro model that takes seconds.

    python benchmarks/operating.py                   # a quarter of an hour on two quiet cores
    python benchmarks/operating.py --pairs 1 --rollbacks 3   # a look

* watched: a whole `dvc repro` and the same stages as a Prefect flow (flows/retrain.py) with a server that is up, each
  on a fresh copy, A B A B; `finetide run` beside them. The flow also promotes, and writes the report.
* nothing to do: the flow again where nothing changed, less what it takes to start Python and import the flow.
* back: `finetide rollback` on a fresh copy of a project with two versions, from the start of the process to its end;
  afterwards the bundle in service is verified against its manifest, and `history --at` is asked about three times.

Written to docs/benchmarks-operating.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from tqdm import tqdm  # noqa: E402

from faults import template  # noqa: E402
from support.messages import rows, write_csv  # noqa: E402
from support.project import MODEL, environment  # noqa: E402

PAGE, RESULTS = ROOT / "docs" / "benchmarks-operating.md", ROOT / "benchmarks" / "results" / "operating.json"
FLOW = ROOT / "flows" / "retrain.py"
LIMIT_WATCHED, LIMIT_IDLE, LIMIT_BACK = 15.0, 15.0, 10.0


def timed(root: Path, *command: str, **more: str) -> float:
    """Seconds of a whole process in ``root``, which must end with 0."""
    env = {**environment(), "OMP_NUM_THREADS": "1", **more}
    started = time.perf_counter()
    done = subprocess.run([sys.executable, *command], cwd=root, env=env, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode != 0:
        raise SystemExit(
            f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        )
    return seconds


def said(root: Path, *words: str) -> str:
    command = [sys.executable, "-m", "finetide", *words]
    return subprocess.run(command, cwd=root, env=environment(), capture_output=True, text=True, check=True).stdout


def copied(made: Path, to: Path) -> Path:
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(made, to, symlinks=True)
    return to / "project"


def watched(made: Path, work: Path, pairs: int) -> dict[str, list[float]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    machine = copied(made, work / "machine")
    timed(machine, "-m", "finetide", "up", "--port", str(port))
    api = f"http://127.0.0.1:{port}/api"
    found: dict[str, list[float]] = {"dvc repro": [], "flow": [], "finetide run": [], "idle": [], "start": []}
    try:
        for _ in tqdm(range(pairs), desc="watched", file=sys.stderr):
            found["dvc repro"].append(timed(copied(made, work / "a"), "-m", "dvc", "repro", "--quiet"))
            root = copied(made, work / "b")
            found["flow"].append(timed(root, str(FLOW), MODEL, PREFECT_API_URL=api))
            found["finetide run"].append(timed(copied(made, work / "c"), "-m", "finetide", "run"))
            found["idle"].append(timed(root, str(FLOW), MODEL, PREFECT_API_URL=api))
            found["start"].append(timed(root, "-c", "import finetide_flows.retrain", PREFECT_API_URL=api))
    finally:
        timed(machine, "-m", "finetide", "down")
    return found


def back(made: Path, work: Path, times: int) -> dict[str, Any]:
    """Seconds of each rollback; ``wrong``: what was not as it should be."""
    from finetide.lifecycle.history import service_at
    from finetide.registry import ledger

    home = work / "two"
    root = copied(made, home)
    timed(root, "-m", "finetide", "run")
    write_csv(root / "data" / MODEL / "raw" / "bank.csv", rows(90, "bank", 3))
    timed(root, "-m", "finetide", "run")
    promoted = [entry for entry in ledger.read(root, MODEL) if entry.event == "promoted"]
    if [entry.version for entry in promoted] != ["v1", "v2"]:
        raise SystemExit(f"the second run promoted nothing: {[entry.version for entry in promoted]}")
    seconds, wrong = [], []
    for number in tqdm(range(times), desc="back", file=sys.stderr):
        root = copied(home, work / "back")
        seconds.append(timed(root, "-m", "finetide", "rollback", MODEL))
        alias = json.loads((root / "serving" / MODEL / "champion.json").read_text())
        if alias["hash"] != promoted[0].bundle_hash:
            wrong.append(f"{number}: {alias['version']} {alias['hash'][:12]} is in service")
        try:
            said(root, "verify", str(root / alias["bundle"]))
        except subprocess.CalledProcessError as error:
            wrong.append(f"{number}: verify ended with {error.returncode}")
        moment = datetime.fromisoformat(ledger.read(root, MODEL)[-1].time)
        first = datetime.fromisoformat(promoted[0].time)
        for at, version in ((first - timedelta(seconds=1), "nothing was"), (moment - timedelta(seconds=1), "v2 "),
                            (moment + timedelta(seconds=1), "v1 ")):  # fmt: skip
            answer = service_at(root, MODEL, at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
            if f": {version}" not in answer:
                wrong.append(f"{number}: asked about {at}, the history says {answer}")
    return {"seconds": seconds, "wrong": wrong}


def page(found: dict[str, Any]) -> str:
    w, b = found["watched"], found["back"]
    middle = {name: statistics.median(values) for name, values in w.items()}
    overhead = statistics.median(flow - plain for flow, plain in zip(w["flow"], w["dvc repro"], strict=True))
    prefect = statistics.median(flow - run for flow, run in zip(w["flow"], w["finetide run"], strict=True))
    idle = statistics.median(again - start for again, start in zip(w["idle"], w["start"], strict=True))
    wrong = len({one.split(":")[0] for one in b["wrong"]})
    lines = [
        "# Watched, idle, and back", "",
        f"Written by `benchmarks/operating.py`, which says what is measured: a micro model, {found['cores']} cores, "
        f"{found['date']}, load {found['load']:.1f} at the start; medians of {len(w['flow'])} pairs and "
        f"{len(b['seconds'])} rollbacks.", "",
        "| | seconds |", "|---|---:|",
        f"| `dvc repro`, all stages | {middle['dvc repro']:.1f} |",
        f"| the same as a flow, with promotion and report | {middle['flow']:.1f} |",
        f"| `finetide run`, with promotion and report | {middle['finetide run']:.1f} |",
        f"| the flow over `dvc repro` (at most {LIMIT_WATCHED:g} wanted) | {overhead:+.1f} |",
        f"| of it, over `finetide run`, which promotes and reports as well | {prefect:+.1f} |",
        f"| the flow where nothing changed | {middle['idle']:.1f} |",
        f"| of it, to start Python and import the flow | {middle['start']:.1f} |",
        f"| the rest (at most {LIMIT_IDLE:g} wanted) | {idle:.1f} |",
        f"| `finetide rollback`, the whole process | {statistics.median(b['seconds']):.1f} |",
        f"| the slowest of them (at most {LIMIT_BACK:g} wanted) | {max(b['seconds']):.1f} |",
        "", f"Of {len(b['seconds'])} rollbacks {wrong} ended with another bundle in service, "
        "one that `verify` refuses, or a history that says otherwise.",
    ]  # fmt: skip
    return "\n".join([*lines, *(f"* {one}" for one in b["wrong"])]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--rollbacks", type=int, default=50)
    asked = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="finetide-operating-") as folder:
        work = Path(folder)
        made = template.fresh(work / "fresh")
        found = {
            "date": time.strftime("%Y-%m-%d"), "cores": os.cpu_count(), "load": load,
            "watched": watched(made, work, asked.pairs), "back": back(made, work, asked.rollbacks),
        }  # fmt: skip
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(found), encoding="utf-8")
    print(page(found))


if __name__ == "__main__":
    main()
