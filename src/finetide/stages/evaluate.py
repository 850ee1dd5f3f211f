"""evaluate: score the model on the test rows, beside its baselines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from safetensors.numpy import load_file

from finetide import tasks
from finetide.base import resolve
from finetide.config.evaluate import EncodingParams
from finetide.config.stage import Stage
from finetide.data.payload import read_split
from finetide.engine.inference import embed, predict
from finetide.evaluation import kinds
from finetide.evaluation.align import align, means_of_rows
from finetide.evaluation.baselines import Probe
from finetide.files import read_json, write_text
from finetide.task import Examples, ModelSettings

# Padded tokens a forward pass. No setting: it bounds memory and decides no number beyond rounding.
BATCH_TOKENS = 8192


Array = np.ndarray[Any, np.dtype[Any]]


def run(stage: Stage) -> None:
    """Reads split, model and probe; writes metrics.json, evaluation.json, predictions.parquet and confusion.csv."""
    task, seed = tasks.load(stage.task), stage.seed
    params, encoding = stage.section(task.evaluate_params), stage.section(EncodingParams, "train")
    labels = tuple(read_json(stage.dep("model") / "labels.json"))
    rows = read_split(stage)
    anchors = task.anchors(rows, labels, params)  # what is wrong with them shows before anything is computed
    settings = ModelSettings(labels=labels, max_length=encoding.max_length, pooling=encoding.pooling, dropout=0.0)
    probe = load_file(stage.dep("probe.safetensors"))

    def model(of: pd.DataFrame) -> tuple[Examples, Array]:
        built = task.build(stage.dep("model"), settings, seed=seed)
        examples = task.encode(built, of)
        return examples, predict(task, built, examples, batch_tokens=BATCH_TOKENS)

    def base(of: Sequence[pd.DataFrame]) -> list[Array]:
        built = task.build(resolve(stage.base, stage.root), settings, seed=seed)
        found = []
        for part in of:
            examples = task.encode(built, part.assign(label=None))
            features = embed(task, built, examples, batch_tokens=BATCH_TOKENS, cache=None)
            ids, features = means_of_rows(examples.rows(), examples.ids, features)
            found.append(align(list(part["row_id"]), ids, features.astype(np.float64)))
        return found

    scored = kinds.scores(stage.task).score(
        kinds.Held(
            rows=rows,
            held=rows[rows["split"].isin(["validation", "test"])],
            labels=labels,
            model=model,
            base=base,
            anchors=anchors,
            probe=Probe(probe["weight"], probe["bias"]),
            measures=task.measures,
            params=params,
            seed=seed,
        )
    )
    scored.metrics.write(stage.out("metrics.json"))
    scored.evaluation.write(stage.out("evaluation.json"))
    pq.write_table(scored.table, stage.out("predictions.parquet"))
    write_text(stage.out("confusion.csv"), scored.pairs.to_csv(index=False, lineterminator="\n"))
