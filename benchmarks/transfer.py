"""What a base of images is worth: fine-tuned from it against trained from scratch, at shares of the labels.

    python benchmarks/transfer.py --seeds 3          # an hour or two on two cores; goes on where it was stopped

`kannada-dig`: a base pre-trained on Kannada-MNIST (10,000 images), fine-tuned on Dig-MNIST, other hands and another
scanner. `general-medical`: a base pre-trained on CIFAR-10 and Fashion-MNIST (3,300 images, 20 labels, grey),
fine-tuned on PneumoniaMNIST with its own split. Pre-training has twenty epochs at most, of images that are moved and
turned; what is compared is trained on images as they are. Bases and projects are made by `finetide base` and `finetide
init`; the rows are those that `finetide run` would train on. Both sides have the same epochs, and train until
validation stands still; both try the same learning rates, with every seed where few labels make that cheap and else
with the first one, and keep the best on validation. Where an epoch would be a few steps, each row comes in it more
than once. Each finished model is a line of benchmarks/results/transfer.jsonl, and docs/benchmarks-transfer.md is
written from them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ruamel.yaml import YAML

from finetide import tasks
from finetide.data.images.arrays import read_idx
from finetide.engine.checkpoint import Unsaved
from finetide.engine.inference import predict
from finetide.engine.loop import train
from finetide.engine.progress import Unwritten
from finetide.engine.scratch import randomise
from finetide.engine.specs import Data, PhaseSpec, TuneSpec
from finetide.evaluation.align import align, label_indices
from finetide.layers.policies import Named
from finetide.metrics.calibration import softmax
from finetide.metrics.classification import auroc
from finetide.metrics.means import bootstrap_mean
from finetide.pipeline import dvc
from finetide.seeding import derive, generator
from finetide.stages.evaluate import BATCH_TOKENS
from finetide.stages.train import engine_settings, model_settings
from finetide.studies.bench import Bench, open_bench
from finetide.studies.methods import PROBE
from finetide.studies.subsets import subset
from tallies import lines

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data" / "image_cls"
TALLY, PAGE = ROOT / "benchmarks" / "results" / "transfer.jsonl", ROOT / "docs" / "benchmarks-transfer.md"
SHARES, RATES = (0.01, 0.1, 1.0), (3e-4, 1e-3, 3e-3)
EPOCHS, PATIENCE = 40, 10
# Up to this share every rate is tried with every seed.
CHEAP = 0.1
# Few rows are repeated until an epoch, and with it an evaluation, has so many steps.
STEPS = 40
METHODS = ("fine-tuned", "from scratch")
SIDE = 32


def general(folder: Path) -> list[str]:
    """CIFAR-10 and Fashion-MNIST in one zip, a folder a label."""
    target = folder / "general.zip"
    with zipfile.ZipFile(target, "w") as made:
        for name in ("train.zip", "test.zip"):
            with zipfile.ZipFile(SHARED / "cifar10_subset" / name) as given:
                for member in given.namelist():
                    if member.endswith(".jpg"):
                        *_, label, image = member.split("/")
                        made.writestr(f"{label}/{name[:-4]}-{image}", given.read(member))
        fashion = SHARED / "fashion_mnist_sprite"
        images, labels = (fashion / f"fashion900-{kind}-ubyte.gz" for kind in ("images-idx3", "labels-idx1"))
        for place, found in enumerate(read_idx(images, images.name, labels)):
            made.writestr(f"fashion-{found.label}/{place}.png", found.data)
    return [str(target)]


def kannada(folder: Path) -> list[str]:
    del folder
    return idx("source_kannada_test")


def dig(folder: Path) -> list[str]:
    del folder
    return idx("target_dig")


def pneumonia(folder: Path) -> list[str]:
    del folder
    return [str(SHARED / "pneumoniamnist" / "pneumoniamnist.npz")]


def idx(name: str) -> list[str]:
    folder = SHARED / "kannada_mnist_to_dig_mnist"
    return [str(folder / f"{name}-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1")]


PAIRS = {"kannada-dig": (kannada, dig), "general-medical": (general, pneumonia)}
# Of the pre-training: a base is worth more to other hands and scanners when it saw its own images moved and turned.
PRETRAINING_EPOCHS = 20
MOVED = {"rotate": 10.0, "translate": 0.1, "scale": 0.1, "brightness": 0.2, "contrast": 0.2}


def finetide(folder: Path, *words: str) -> None:
    env = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    subprocess.run([sys.executable, "-m", "finetide", *words], cwd=folder, env=env, check=True, stdout=sys.stderr)


def project(folder: Path, name: str, files: Sequence[str], *more: str) -> Path:
    given = [word for file in files for word in ("--reference", file)]
    finetide(folder, "init", name, "--task", "image-classification", "--name", name, *given, *more)
    return folder / name


def opened(pair: str, home: Path) -> Bench:
    """The target's rows and settings, on a base that was pre-trained on the source."""
    source, target = PAIRS[pair]
    if not (home / "target" / "artifacts").is_dir():
        home.mkdir(parents=True, exist_ok=True)
        finetide(home, "base", "blank", "--architecture", "resnet", "--side", str(SIDE), "--channels", "1")
        made = project(home, "source", source(home), "--base", "blank", "--from-scratch")
        lengthen(made / "params.yaml", {**MOVED, "flip": 0.5 if pair == "general-medical" else 0.0})
        finetide(made, "run")
        finetide(made, "base", "../pretrained", "--from", "source")
        made = project(home, "target", target(home), "--base", "pretrained")
        dvc.checked(made, ["repro", "--quiet", "split@target"])
    return open_bench(home / "target", "target")


def lengthen(params: Path, augment: dict[str, float]) -> None:
    """More epochs than `init` gives a first look, and augmentation."""
    yaml = YAML()
    said = yaml.load(params)
    training = said["models"]["source"]["train"]
    training["augment"].update(augment)
    training["phases"][0]["duration"]["epochs"] = PRETRAINING_EPOCHS
    yaml.dump(said, params)


def phases(method: str, rate: float) -> list[PhaseSpec]:
    tune = TuneSpec(
        policy=Named("full"), epochs=EPOCHS, steps=None, learning_rate=rate, schedule="cosine", warmup_share=0.05,
        weight_decay=0.05, max_gradient_norm=1.0, patience=PATIENCE, evaluations_per_epoch=1,
    )  # fmt: skip
    return [tune] if method == "from scratch" else [PROBE, tune]


def fitted(bench: Bench, method: str, rate: float, share: float, seed: int) -> dict[str, Any]:
    task, rows = tasks.load(bench.stage.task), subset(bench.train, share, seed)
    built = task.build(bench.starts["base"], model_settings(bench.labels, bench.params), seed=derive(seed, "build"))
    if method == "from scratch":
        randomise(built.module, seed=derive(seed, "scratch"))
    settings = replace(engine_settings(bench.stage, bench.params), seed=seed, feature_cache=None, prefix_cache=None)
    times = -(-STEPS * bench.params.batch_rows // len(rows))
    encoded = task.encode(built, rows)
    data = Data(encoded.take([*range(len(encoded.ids))] * times), task.encode(built, bench.validation))
    started = time.monotonic()
    found = train(task, built, data, phases(method, rate), settings, Unwritten(), Unsaved())
    seconds = time.monotonic() - started
    test = task.encode(built, bench.test.assign(label=None))
    logits = align(list(bench.test["row_id"]), test.ids, predict(task, built, test, batch_tokens=BATCH_TOKENS))
    best, truth = found.phases[found.kept], label_indices(list(bench.test["label"]), bench.labels)
    line = {
        "rows": len(rows), "times": times, "validation": best.score.accuracy, "seconds": round(seconds, 1),
        "steps": sum(phase.steps for phase in found.phases), "kept": best.kind,
        "right": (logits.argmax(axis=1) == truth).astype(int).tolist(),
    }  # fmt: skip
    if len(bench.labels) == 2:
        line["auroc"] = auroc(truth, softmax(logits.astype(np.float64))[:, 1])
    return line


def cell(bench: Bench, pair: str, method: str, share: float, seeds: int) -> None:
    """Every rate with the seeds that it is chosen by, then the best one with the others."""

    def made() -> list[dict[str, Any]]:
        wanted = {"pair": pair, "method": method, "share": share}
        return [line for line in lines(TALLY) if all(line[key] == value for key, value in wanted.items())]

    def add(rate: float, seed: int) -> None:
        if any((line["rate"], line["seed"]) == (rate, seed) for line in made()):
            return
        found = fitted(bench, method, rate, share, seed)
        line = {"pair": pair, "method": method, "share": share, "rate": rate, "seed": seed, **found}
        with TALLY.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
        shown = {key: value for key, value in line.items() if key != "right"}
        print({**shown, "accuracy": round(float(np.mean(line["right"])), 4)}, flush=True)

    for seed in range(seeds if share <= CHEAP else 1):
        for rate in RATES:
            add(rate, seed)
    best = chosen(made())[0]["rate"]
    for seed in range(seeds):
        add(best, seed)


def chosen(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of the lines of a cell those of the rate that is best on validation, with the seeds that all rates have."""
    by_rate = {rate: {line["seed"]: line for line in found if line["rate"] == rate} for rate in RATES}
    common = set.intersection(*(set(one) for one in by_rate.values()))
    best = max(RATES, key=lambda rate: statistics.mean(by_rate[rate][seed]["validation"] for seed in common))
    return [by_rate[best][seed] for seed in sorted(by_rate[best])]


def page() -> str:
    table = pd.DataFrame(lines(TALLY))
    text = [
        "# Images: what a base is worth",
        "",
        "Written by `benchmarks/transfer.py`, which says what is compared. Accuracy in per cent on the test images,",
        "mean over the seeds; the difference with its 95 % interval over the test images, each the mean of its seeds.",
        "",
        "| pair | share of labels | training images | seeds | fine-tuned | from scratch | difference "
        "| seconds: fine-tuned, scratch | AUROC: fine-tuned, scratch |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for (pair, share), part in table.groupby(["pair", "share"], sort=True):
        sides = {
            method: chosen(part[part["method"] == method].to_dict("records"))
            for method in METHODS
            if all(((part["method"] == method) & (part["seed"] == 0) & (part["rate"] == rate)).any() for rate in RATES)
        }
        if len(sides) < len(METHODS):
            continue
        seeds = sorted(set.intersection(*({line["seed"] for line in found} for found in sides.values())))
        right = {method: np.array([next(line["right"] for line in found if line["seed"] == seed) for seed in seeds],
                                  dtype=np.float64) for method, found in sides.items()}  # fmt: skip
        tuned, scratch = (right[method] for method in METHODS)
        chance = generator(17, "bench", str(pair), str(share))
        between = bootstrap_mean((tuned - scratch).mean(axis=0), resamples=2000, confidence=0.95, chance=chance)
        spent = [statistics.median(line["seconds"] for line in sides[method]) for method in METHODS]
        areas = [[line["auroc"] for line in sides[method] if not pd.isna(line.get("auroc"))] for method in METHODS]
        text.append(
            f"| {pair} | {100 * float(share):g} % | {sides[METHODS[0]][0]['rows']:,} | {len(seeds)} "  # type: ignore[arg-type]
            f"| {100 * tuned.mean():.1f} | {100 * scratch.mean():.1f} "
            f"| {100 * between.value:+.1f} [{100 * between.low:+.1f}, {100 * between.high:+.1f}] "
            f"| {spent[0]:.0f}, {spent[1]:.0f} "
            f"| {', '.join(f'{statistics.mean(found):.3f}' for found in areas) if all(areas) else ''} |"
        )
    return "\n".join([*text, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--pairs", default=",".join(PAIRS), help="some of them, with commas between")
    parser.add_argument("--shares", default=",".join(map(str, SHARES)))
    parser.add_argument("--work", type=Path, help="a folder to keep bases and projects in; default: a temporary one")
    asked = parser.parse_args()
    TALLY.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for pair in asked.pairs.split(","):
            bench = opened(pair, (asked.work or Path(scratch)).resolve() / pair)
            for share in map(float, asked.shares.split(",")):
                for method in METHODS:
                    cell(bench, pair, method, share, asked.seeds)
                PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
