"""The engine against Hugging Face's Trainer: same rows, base and machine, one process a run, A B A B.

    python benchmarks/peers.py                         # all of it, hours on two cores; goes on where it was stopped
    python benchmarks/peers.py --parts steady,frozen   # seconds alone: minutes
    python benchmarks/peers.py --rows 1000 --pairs 1 --parts race --tally look.jsonl   # a look

`race`: who reaches which accuracy when. Peers: (a) the Trainer as a competent user writes it: fp32, dynamic padding,
the model's own classification head; (b) tuned: bf16 where the machine computes in it, batches of like length, mean
pooling, the learning rate swept by validation; (c) as (b) with a frozen backbone; (d) SetFit, where it is
installed beside Finetide (`pip install setfit`). Test rows are scored at the end of each epoch, with the clock stopped.
`steady`: examples a second of full fine-tuning, against (b). `frozen`: the head alone by AdamW, 4 and 10 epochs,
against (c). In these two only seconds of training count, on 1,000 rows, with and without looks at validation.
`--size base` does `steady` on BERT-base with random weights, for a GPU.

Each finished run is a line of benchmarks/results/peers.jsonl, and docs/benchmarks.md is written from them; what
was not measured reads *not run*.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tallies import lines
from trainers import CSV, PACKAGE, ROOT, Clock, base_folder, block_parameters, finetide, rows, setfit, tokens, trainer

__all__ = ["PACKAGE", "Clock", "call"]

TALLY, PAGE = ROOT / "benchmarks" / "results" / "peers.jsonl", ROOT / "docs" / "benchmarks.md"
# Upwards, one epoch each, until validation falls: a frozen backbone wants far more than a whole model.
SWEEP = (1e-4, 3e-4, 6e-4, 1.2e-3, 2.5e-3, 5e-3, 1e-2, 2e-2, 5e-2)
NAMES = {
    "finetide": "Finetide, probe then tune",
    "probe": "Finetide, the probe alone",
    "a": "(a) Trainer, fp32, dynamic padding",
    "b": "(b) Trainer, tuned",
    "c": "(c) Trainer, frozen backbone",
    "d": "(d) SetFit",
    "full": "Finetide, every layer",
    "head": "Finetide, the head",
}
OURS = ("finetide", "probe", "full", "head")
EPOCHS = {"finetide": 2, "probe": 1, "a": 4, "b": 4, "c": 4, "d": 1}
# What only seconds are measured of: rows, and (ours, peer, epochs).
SHORT = 1000
STEADY = (("full", "b", 2),)
FROZEN = (("head", "c", 4), ("head", "c", 10))
SEED = 17


def peak(precision: str) -> float:
    """GFLOP/s of a 2048² matmul here, the best of ten."""
    import torch

    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    device = "cuda" if torch.cuda.is_available() else "cpu"
    a = torch.randn(2048, 2048, dtype=kind, device=device)
    best = float("inf")
    for _ in range(10):
        started = time.perf_counter()
        b = a @ a
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
    del b
    return 2 * 2048**3 / best / 1e9


def one(asked: argparse.Namespace) -> None:
    """In a process of its own: prints a line of JSON."""
    kind, epochs = asked.one, asked.epochs
    if kind in OURS:
        found = finetide(kind, asked.seed, asked.rows, epochs, asked.size)
    elif kind == "d":
        found = setfit(asked.seed, asked.rows, epochs)
    else:
        found = trainer(kind, asked.seed, asked.rows, epochs, asked.rate, asked.size, scored=not asked.unscored)
    from finetide.engine.precision import choose, choose_device

    precision = "fp32" if kind == "a" else choose("auto", choose_device()).name
    if "training" in found and kind in ("full", "b"):
        folder, texts = base_folder(asked.size), list(rows(asked.rows)[0]["text"])
        computed = 6 * block_parameters(folder) * tokens(folder, texts) * epochs
        found["gflops"] = computed / stepping(found) / 1e9
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({**found, "peak_mib": memory, "precision": precision, "matmul_gflops": peak(precision)}))


def stepping(run: dict[str, Any]) -> float:
    """Seconds of training without those of looking at validation and training rows, which the peer does not do."""
    seconds: float = run["training"] - run.get("looking", 0.0)
    return seconds


def call(
    kind: str,
    seed: int,
    limit: int | None,
    epochs: int,
    rate: float | None = None,
    *more: str,
    script: str = __file__,
) -> dict[str, Any]:
    """One run in a process of its own."""
    command = [sys.executable, script, "--one", kind, "--seed", str(seed), "--epochs", str(epochs), *more]
    command += ["--rows", str(limit)] if limit else []
    command += ["--rate", str(rate)] if rate else []
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env={**os.environ})
    if done.returncode != 0:
        raise SystemExit(f"{kind} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


class Series:
    """Runs that the tally has, or makes and adds. ``began`` tells runs of one call from those of another."""

    def __init__(self, tally: Path, limit: int | None) -> None:
        self.tally, self.limit, self.began = tally, limit, time.strftime("%Y-%m-%d %H:%M:%S")
        tally.parent.mkdir(parents=True, exist_ok=True)

    def run(self, part: str, kind: str, pair: int, epochs: int, rate: float | None, *more: str) -> dict[str, Any]:
        machine = device()
        limit = self.limit if part in ("race", "sweep") else SHORT
        key = {"part": part, "kind": kind, "pair": pair, "epochs": epochs, "rate": rate, "rows": limit, **machine}
        known = next((line for line in lines(self.tally) if all(line.get(name) == key[name] for name in key)), None)
        if known is None:
            known = {**key, "began": self.began, **call(kind, SEED + pair, limit, epochs, rate, *more)}
            with self.tally.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(known) + "\n")
            accuracy = f"{known['accuracy']:.4f} " if "accuracy" in known else ""
            print(f"{part} {pair + 1}: {NAMES[kind]} {accuracy}in {known['seconds']:.0f} s", flush=True)
        return known

    def swept(self, kind: str) -> float:
        found: dict[float, float] = {}
        for rate in SWEEP:
            found[rate] = self.run("sweep", kind, 0, 1, rate)["validation"]
            if found[rate] < max(found.values()):
                break
        return max(found, key=lambda rate: found[rate])


def device() -> dict[str, Any]:
    import torch

    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return {"device": name, "cores": os.cpu_count()}


def reached(curve: Sequence[Sequence[float]], accuracy: float) -> float | None:
    """Seconds until the test accuracy was reached first."""
    return next((seconds for seconds, value in curve if value >= accuracy), None)


def race(found: Sequence[dict[str, Any]]) -> list[str]:
    by_kind = {kind: {line["pair"]: line for line in found if line["kind"] == kind} for kind in NAMES}
    ours = by_kind["finetide"]
    lines = [
        "| | runs | test accuracy | above the probe | seconds | examples a second | peak memory "
        "| Finetide reaches its best accuracy |",
        "|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for kind in ("finetide", "probe", "a", "b", "c", "d"):
        runs = by_kind[kind]
        if not runs:
            lines.append(f"| {NAMES[kind]} | *not run* | | | | | | |")
            continue

        def middle(name: str, runs: dict[int, dict[str, Any]] = runs) -> float:
            return statistics.median(run[name] for run in runs.values())

        rate = statistics.median(run["examples"] / run["seconds"] for run in runs.values())
        apart = [run["accuracy"] - by_kind["probe"][pair]["accuracy"] for pair, run in runs.items()
                 if pair in by_kind["probe"]]  # fmt: skip
        over = f"{100 * statistics.mean(apart):+.2f}" if apart and kind != "probe" else ""
        lines.append(
            f"| {NAMES[kind]} | {len(runs)} | {100 * statistics.mean(run['accuracy'] for run in runs.values()):.2f} % "
            f"| {over} | {middle('seconds'):.0f} | {rate:.0f} | {middle('peak_mib'):.0f} MiB "
            f"| {sooner(ours, runs) if kind not in OURS else ''} |"
        )
    return lines


def sooner(ours: dict[int, dict[str, Any]], theirs: dict[int, dict[str, Any]]) -> str:
    ratios = []
    for pair in sorted(ours.keys() & theirs.keys()):
        best = max(value for _, value in theirs[pair]["curve"])
        mine, other = reached(ours[pair]["curve"], best), reached(theirs[pair]["curve"], best)
        ratios.append(None if mine is None or other is None else other / mine)
    known = [ratio for ratio in ratios if ratio is not None]
    if not known:
        return "never" if ratios else ""
    told = f"{statistics.median(known):.1f}× sooner ({', '.join(f'{ratio:.1f}' for ratio in known)})"
    return told if len(known) == len(ratios) else f"{told}, in {len(known)} of {len(ratios)} runs"


def speeds(found: Sequence[dict[str, Any]], wanted: Sequence[tuple[str, str, int]]) -> list[str]:
    lines = [
        "| | epochs | pairs | Finetide, examples a second | peer | ratio [lowest, highest] | with evaluation "
        "| model FLOP a second by the machine's matmul peak: Finetide, peer |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for mine, theirs, epochs in wanted:
        sides = [{line["pair"]: line for line in found if (line["kind"], line["epochs"]) == (kind, epochs)}
                 for kind in (mine, theirs)]  # fmt: skip
        pairs = sorted(sides[0].keys() & sides[1].keys())
        if not pairs:
            lines.append(f"| {NAMES[mine]}, {NAMES[theirs]} | {epochs} | *not run* | | | | | |")
            continue
        rates = [[side[pair]["examples"] / stepping(side[pair]) for pair in pairs] for side in sides]
        ratios = [one / other for one, other in zip(*rates, strict=True)]
        whole = statistics.median(
            sides[0][pair]["examples"] / sides[0][pair]["training"] / other
            for pair, other in zip(pairs, rates[1], strict=True)
        )
        used = [[side[pair]["gflops"] / side[pair]["matmul_gflops"] for pair in pairs if "gflops" in side[pair]]
                for side in sides]  # fmt: skip
        shares = ", ".join(f"{statistics.median(one):.0%}" for one in used if one)
        lines.append(
            f"| {NAMES[mine]}, {NAMES[theirs]} | {epochs} | {len(pairs)} | {statistics.median(rates[0]):.0f} "
            f"| {statistics.median(rates[1]):.0f} "
            f"| {statistics.median(ratios):.2f}× [{min(ratios):.2f}, {max(ratios):.2f}] | {whole:.2f}× "
            f"| {shares} |"
        )
    return lines


def outrun(swept: Sequence[dict[str, Any]], raced: Sequence[dict[str, Any]]) -> list[str]:
    """Of each peer that raced at another rate than the one that a later sweep found, a line that says so."""
    text = []
    for kind in sorted({line["kind"] for line in raced if line["rate"] is not None}):
        own = [line for line in swept if line["kind"] == kind]
        best = max(own, key=lambda line: line["validation"], default=None)
        rates = {line["rate"] for line in raced if line["kind"] == kind}
        if best is None or best["rate"] in rates:
            continue
        mine = max((line["validation"] for line in own if line["rate"] in rates), default=float("nan"))
        text += ["", f"{NAMES[kind]} raced at {', '.join(f'{rate:g}' for rate in sorted(rates))}. A sweep that went on "
                 f"since then found {best['rate']:g} better, {best['validation']:.1%} against {mine:.1%} on validation "
                 "after an epoch; it was not run anew with it, and will do better than this row says."]  # fmt: skip
    return text


def page(found: Sequence[dict[str, Any]]) -> str:
    text = [
        "# Against the Trainer", "",
        "banking77; written by `benchmarks/peers.py`, which says what is compared and how. One process a run, in the "
        "order A B A B; medians, accuracies means. Of model FLOP only those of the blocks' matrices are counted, for "
        "words and not for padding; the peak is that of a 2048² product in the same precision, measured in each run. "
        "Finetide looks at 512 training rows and at validation before each phase and after each epoch, which the peers "
        "are not asked to do: examples a second are without it, and a column says what it comes to with it, where a "
        "thousand rows make a look dear.",
    ]  # fmt: skip
    machines = sorted({(line["device"], line["cores"]) for line in found})
    for name, cores in machines or [("CPU", os.cpu_count())]:
        mine = [line for line in found if (line["device"], line["cores"]) == (name, cores)]
        part = {part: [line for line in mine if line["part"] == part] for part in ("race", "steady", "frozen", "base")}
        dates = sorted({line["began"][:10] for line in mine})
        precisions = ", ".join(sorted({line["precision"] for line in mine if line["kind"] in OURS}))
        text += ["", f"## {name}, {cores} cores, {precisions}", "", f"Measured on {', '.join(dates)}.", "",
                 "### To an accuracy: MiniLM, all rows", "", *race(part["race"])]  # fmt: skip
        text += outrun([line for line in mine if line["part"] == "sweep"], part["race"])
        again = {line["pair"] for line in part["race"]}
        calls = {pair: len({line["began"] for line in part["race"] if line["pair"] == pair}) for pair in again}
        apart = sum(count > 1 for count in calls.values())
        if apart:
            text += ["", f"The bench was stopped within {apart} of {len(calls)} rounds and went on later."]
        text += ["", f"### Every layer learns: MiniLM, {SHORT:,} rows", "", *speeds(part["steady"], STEADY)]
        text += ["", f"### A frozen backbone: MiniLM, {SHORT:,} rows", "", *speeds(part["frozen"], FROZEN)]
        text += ["", f"### Every layer learns: BERT-base, random weights, {SHORT:,} rows", "",
                 *speeds(part["base"], STEADY)]  # fmt: skip
    return "\n".join([*text, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--rows", type=int, help="at most so many rows a side in the race; no page is written then")
    parser.add_argument("--parts", default="steady,frozen,race")
    parser.add_argument("--peers", default="a,b,c,d" if find_spec("setfit") else "a,b,c")
    parser.add_argument("--size", choices=["minilm", "base"], default="minilm")
    parser.add_argument("--tally", type=Path, default=TALLY)
    parser.add_argument("--one", choices=list(NAMES))
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--unscored", action="store_true", help="of --one: seconds alone")
    asked = parser.parse_args()
    if asked.one:
        asked.epochs = asked.epochs or EPOCHS[asked.one]
        one(asked)
        return
    if not CSV.exists():
        raise SystemExit(f"{CSV} is not there: nothing was run")
    series = Series(asked.tally, asked.rows)
    for part in asked.parts.split(","):
        if part == "race":
            rates = {"a": 1e-4, **{kind: series.swept(kind) for kind in asked.peers.split(",") if kind in ("b", "c")}}
            for pair in range(asked.pairs):
                for kind in ("finetide", "probe", *asked.peers.split(",")):
                    series.run("race", kind, pair, EPOCHS[kind], rates.get(kind))
            continue
        name = "base" if asked.size == "base" else part
        for mine, theirs, epochs in STEADY if part == "steady" else FROZEN:
            for pair in range(asked.pairs):
                for kind in (mine, theirs):
                    series.run(name, kind, pair, epochs, 1e-4, "--size", asked.size, "--unscored")
    if asked.rows is None and asked.tally == TALLY:
        PAGE.write_text(page(lines(TALLY)), encoding="utf-8")
    print(page(lines(asked.tally)))


if __name__ == "__main__":
    main()
