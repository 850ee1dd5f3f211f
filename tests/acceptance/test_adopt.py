"""A model that transformers' Trainer has made, adopted: the same answers in service, then tuned on what arrives."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from support.forked import Forks
from support.messages import LABELS, rows, write_csv
from support.project import MODEL, edit_params, environment, quick
from support.tuned import tuned_text

# As the person's training had them: neither sorted nor in the order in which the data name them.
ORDER = ("money", "account", "delivery")


def trained(folder: Path, table: list[dict[str, str]]) -> Path:
    """A micro model after some steps of the Trainer, saved as it saves, checkpoints and pickles included."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments

    start = tuned_text(folder.with_name("start"), names=ORDER)
    tokenizer: Any = AutoTokenizer.from_pretrained(start)
    model = AutoModelForSequenceClassification.from_pretrained(start)
    encoded = [
        {**tokenizer(row["body"], truncation=True, max_length=32), "labels": ORDER.index(row["intent"])}
        for row in table
        if row["side"] == "train"
    ]
    arguments = TrainingArguments(
        output_dir=str(folder), max_steps=120, per_device_train_batch_size=16, learning_rate=5e-3, save_steps=60,
        report_to=[], disable_tqdm=True, seed=1, use_cpu=True, dataloader_pin_memory=False,
    )  # fmt: skip
    trainer = Trainer(model=model, args=arguments, train_dataset=encoded, processing_class=tokenizer)
    trainer.train()
    trainer.save_model()
    assert torch.isfinite(model.classifier.weight).all()
    return folder


def theirs(folder: Path, texts: list[str]) -> list[str]:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        found = model(**tokenizer(texts, truncation=True, max_length=32, padding=True, return_tensors="pt")).logits
    return [model.config.id2label[int(place)] for place in found.argmax(1)]


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the Trainer's own
def test_a_trainers_model_is_v1_and_then_tuned(tmp_path: Path, forks: Forks) -> None:
    table = rows(150, "shop", 1)
    data = write_csv(tmp_path / "shop.csv", table)
    run_dir = trained(tmp_path / "runs", table)
    assert {"training_args.bin", "checkpoint-60", "checkpoint-120"} <= {path.name for path in run_dir.iterdir()}
    assert (run_dir / "checkpoint-60" / "optimizer.pt").is_file()

    def finetide(where: Path, *arguments: str) -> str:
        ended = forks.call(where, list(arguments), tmp_path / "log", environment())
        assert ended.code == 0, ended.output
        return ended.output

    options = ["--task", "text-classification", "--name", MODEL, "--reference", str(data), "--text", "body"]
    said = finetide(tmp_path, "adopt", "runs", "project", *options, "--label", "intent", "--split-col", "side")
    assert "its head stays as it is, nothing is trained for v1" in said
    assert "labels: 3 of the model, 3 of them in the data; later trainings start from it, head included" in said
    assert re.search(r"train.max_length: (32|64), ", said)
    assert said.splitlines()[-1].startswith("next: cd project && git add . && ")
    root = tmp_path / "project"

    def changed(params: Any) -> None:
        longest = params["train"]["max_length"]
        quick(params)
        params["train"]["max_length"] = longest
        params["judge"].update(floor=0.0, label_floor=0.0)

    edit_params(root, changed)
    window = root / "data" / MODEL / "window.json"
    assert json.loads(window.read_text())["start"] == "adopted"
    told = finetide(root, "run")
    assert "adopted as it came, nothing trained, validation accuracy" in told
    training = json.loads((root / "artifacts" / MODEL / "train" / "training.json").read_text())
    assert (training["start"], [phase["kind"] for phase in training["phases"]]) == ("adopted", ["adopted"])
    assert re.search(r"outputs differ from transformers' own by at most \d\.\de-0[5-9] on 30 ", training["sentence"])
    alias = json.loads((root / "serving" / MODEL / "champion.json").read_text())
    assert alias["version"] == "v1"
    lock = (root / "dvc.lock").read_bytes()
    finetide(root, "run")
    assert ((root / "dvc.lock").read_bytes(), json.loads(window.read_text())["start"]) == (lock, "adopted")

    test = [row for row in table if row["side"] == "test"]
    asked = write_csv(tmp_path / "asked.csv", [{"body": row["body"]} for row in test])
    finetide(root, "predict", MODEL, "--input", str(asked), "--output", str(tmp_path / "said.csv"), "--text", "body")
    answers = [row["label"] for row in read(tmp_path / "said.csv")]
    assert answers == theirs(run_dir, [row["body"] for row in test])
    right = sum(answer == row["intent"] for answer, row in zip(answers, test, strict=True)) / len(test)
    assert right > 0.8, "a model that learned nothing would hide labels in a wrong order"

    shutil.rmtree(root / "serving" / MODEL / alias["hash"])  # the next run brings it back from DVC, pooler and all
    new = write_csv(tmp_path / "airline.csv", rows(150, "airline", 2))
    finetide(root, "advance", MODEL, str(new))
    assert json.loads(window.read_text())["start"] == "champion"
    ended = forks.call(root, ["run"], tmp_path / "log", environment())
    assert ended.code in (0, 3), ended.output
    training = json.loads((root / "artifacts" / MODEL / "train" / "training.json").read_text())
    assert (training["start"], [phase["kind"] for phase in training["phases"]]) == ("champion", ["probe", "tune"])
    assert (root / "artifacts" / MODEL / "train" / "model" / "pooler.json").is_file()
    judged = json.loads((root / "artifacts" / MODEL / "judge" / "judge.json").read_text())
    assert judged["champion_hash"] == alias["hash"]
    weights = root / "serving" / MODEL / alias["hash"] / "weights"
    assert (weights / "pooler.json").is_file()
    assert "warm start" in finetide(root, "compare", MODEL)
    history = finetide(root, "history", MODEL)
    assert "promoted" in history
    assert set(training["labels"]) == set(LABELS)
