"""evaluate: score the model on the test rows, beside its baselines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import load_file

from finetide import tasks
from finetide.base import resolve
from finetide.config.evaluate import EncodingParams
from finetide.config.stage import Stage
from finetide.data.payload import read_split
from finetide.engine.inference import embed, predict
from finetide.evaluation import baselines
from finetide.evaluation.align import align, label_indices
from finetide.evaluation.score import prediction_table, score
from finetide.files import read_json, write_text
from finetide.metrics.calibration import fit_temperature
from finetide.metrics.classification import FloatArray
from finetide.task import Anchors, ModelSettings, Task

# Padded tokens a forward pass. No setting: it bounds memory and decides no number beyond rounding.
BATCH_TOKENS = 8192


def run(stage: Stage) -> None:
    """Reads split, model and probe; writes metrics.json, evaluation.json, predictions.parquet and confusion.csv."""
    task, seed = tasks.load(stage.task), stage.seed
    params, encoding = stage.section(task.evaluate_params), stage.section(EncodingParams, "train")
    labels = tuple(read_json(stage.dep("model") / "labels.json"))
    rows = read_split(stage)
    anchors = task.anchors(rows, labels, params)
    settings = ModelSettings(labels=labels, max_length=encoding.max_length, pooling=encoding.pooling, dropout=0.0)

    held = rows[rows["split"].isin(["validation", "test"])]
    logits = _logits(task, stage.dep("model"), settings, held, seed)
    validation = ((held["split"] == "validation") & held["label"].isin(labels)).to_numpy()
    temperature = fit_temperature(logits[validation], label_indices(list(held["label"][validation]), labels))

    scored = ((held["split"] == "test") & held["label"].notna()).to_numpy()
    test = held[scored]
    base = resolve(stage.base, stage.root)
    frozen = frozen_features(task, base, settings, baselines.rows_needed(rows), anchors, seed)
    probe = load_file(stage.dep("probe.safetensors"))
    guesses = baselines.predict_all(rows, test, frozen, baselines.Probe(probe["weight"], probe["bias"]), labels)

    metrics, evaluation = score(
        test, logits[scored], temperature=temperature, labels=labels, guesses=guesses, params=params, seed=seed,
        extra=task.measures,
    )  # fmt: skip
    metrics.write(stage.out("metrics.json"))
    evaluation.write(stage.out("evaluation.json"))
    table = prediction_table(held, logits, temperature=temperature, labels=labels)
    pq.write_table(pa.Table.from_pandas(table, SCHEMA, preserve_index=False), stage.out("predictions.parquet"))
    pairs = table[scored].rename(columns={"label": "actual"})[["actual", "predicted"]]
    write_text(stage.out("confusion.csv"), pairs.to_csv(index=False, lineterminator="\n"))


SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("row_id", "role", "split", "label", "predicted")]
    + [(name, pa.float64()) for name in ("score", "calibrated")]
)


def _logits(task: Task, folder: Path, settings: ModelSettings, rows: pd.DataFrame, seed: int) -> FloatArray:
    """Logits of the model in ``folder``, in the order of ``rows``, shape [rows, labels]."""
    if rows.empty:
        return np.zeros((0, len(settings.labels)))
    built = task.build(folder, settings, seed=seed)
    # Without labels: one that the model does not know is no fault here, it is scored as wrong.
    examples = task.encode(built, rows.assign(label=None))
    logits = predict(task, built, examples, batch_tokens=BATCH_TOKENS)
    return align(list(rows["row_id"]), examples.ids, logits.astype(np.float64))


def frozen_features(
    task: Task, base: Path, settings: ModelSettings, rows: pd.DataFrame, anchors: Anchors, seed: int
) -> baselines.Frozen:
    """Features of the base, of ``rows`` and of what stands for each label."""
    built = task.build(base, settings, seed=seed)

    def features(of: pd.DataFrame) -> FloatArray:
        """In the order of ``of``."""
        examples = task.encode(built, of.assign(label=None))
        found = embed(task, built, examples, batch_tokens=BATCH_TOKENS, cache=None)
        return align(list(of["row_id"]), examples.ids, found.astype(np.float64))

    labels = baselines.means(features(anchors.rows), anchors.owner, len(settings.labels))
    known = features(rows) if len(rows) else np.zeros((0, labels.shape[1]))
    return baselines.Frozen(ids=tuple(rows["row_id"]), rows=known, labels=labels, name=anchors.name)
