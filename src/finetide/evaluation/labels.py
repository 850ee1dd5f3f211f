"""Evaluates families that give every row one label; see `finetide.evaluation.kinds.Scores`."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from finetide.evaluation import baselines
from finetide.evaluation.align import align, label_indices
from finetide.evaluation.kinds import Held, Scored
from finetide.evaluation.score import prediction_table, score
from finetide.metrics.calibration import fit_temperature

SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("row_id", "role", "split", "label", "predicted")]
    + [(name, pa.float64()) for name in ("score", "calibrated")]
)


class _Labels:
    def score(self, held: Held) -> Scored:
        rows, labels = held.held, held.labels
        logits = np.zeros((0, len(labels)))
        if len(rows):
            # Without labels: one that the model does not know is no fault here, it is scored as wrong.
            examples, found = held.model(rows.assign(label=None))
            logits = align(list(rows["row_id"]), examples.ids, found.astype(np.float64))
        validation = ((rows["split"] == "validation") & rows["label"].isin(labels)).to_numpy()
        temperature = fit_temperature(logits[validation], label_indices(list(rows["label"][validation]), labels))
        scored = ((rows["split"] == "test") & rows["label"].notna()).to_numpy()
        test = rows[scored]
        guesses = baselines.predict_all(held.rows, test, _frozen(held), held.probe, labels)
        metrics, evaluation = score(
            test, logits[scored], temperature=temperature, labels=labels, guesses=guesses, params=held.params,
            seed=held.seed, extra=held.measures,
        )  # fmt: skip
        table = prediction_table(rows, logits, temperature=temperature, labels=labels)
        pairs = table[scored].rename(columns={"label": "actual"})[["actual", "predicted"]]
        return Scored(metrics, evaluation, pa.Table.from_pandas(table, SCHEMA, preserve_index=False), pairs)


def _frozen(held: Held) -> baselines.Frozen:
    """Features of the base, of the rows that baselines use and of what stands for each label."""
    anchors, rows = held.anchors, baselines.rows_needed(held.rows)
    of_anchors, *of_rows = held.base([anchors.rows, *([rows] if len(rows) else [])])
    labels = baselines.means(of_anchors, anchors.owner, len(held.labels))
    known = of_rows[0] if of_rows else np.zeros((0, labels.shape[1]))
    return baselines.Frozen(ids=tuple(rows["row_id"]), rows=known, labels=labels, name=anchors.name)


SCORES = _Labels()
