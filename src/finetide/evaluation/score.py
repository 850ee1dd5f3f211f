"""From logits of the labelled test rows to metrics.json and evaluation.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from finetide.config.evaluate import MeasureParams
from finetide.contracts.metrics import Evaluation, Metrics
from finetide.contracts.rows import shown_columns
from finetide.evaluation import detail, measures
from finetide.evaluation.align import label_indices, with_unknown
from finetide.metrics.calibration import softmax
from finetide.metrics.classification import FloatArray, IntArray


def score(
    test: pd.DataFrame,
    logits: FloatArray,
    *,
    temperature: float,
    labels: tuple[str, ...],
    guesses: Mapping[str, IntArray],
    params: MeasureParams,
    seed: int,
    extra: Sequence[str] = (),
) -> tuple[Metrics, Evaluation]:
    """Args:
    test: labelled rows with the columns row_id, role, label, text; none of a role, or none at all, is no error.
    logits: of the model, in the order of ``test``, shape [rows, labels].
    labels: of the model; a row with another label is scored as wrong.
    guesses: by baseline, label indices in the order of ``test``.
    extra: measures beside those of every classifier, see `measures.extra_measures`.
    """
    known = with_unknown(labels, list(test["label"]))
    truth = label_indices(list(test["label"]), known)
    predicted = logits.argmax(axis=1)
    masks = measures.role_masks(list(test["role"]))
    probabilities = softmax(logits, temperature)
    shared: dict[str, Any] = {
        "labels": len(known),
        "resamples": params.bootstrap,
        "confidence": params.confidence,
        "seed": seed,
    }
    bins = params.calibration_bins
    roles = {
        role: {
            **measures.classification_measures(truth[mask], predicted[mask], name=f"model/{role}", **shared),
            **measures.extra_measures(extra, truth[mask], logits[mask], name=f"model/{role}", **shared),
            **measures.score_measures(truth[mask], logits[mask], temperature=temperature, bins=bins),
        }
        for role, mask in masks.items()
    }
    evaluation = Evaluation(
        labels=known,
        temperature=temperature,
        per_label=detail.per_label(truth, predicted, known, masks),
        confusion=detail.confusions(truth, predicted, len(known), masks),
        reliability=detail.reliabilities(truth, probabilities, bins, masks),
        mistakes=detail.worst_mistakes(list(test["row_id"]), _shown(test), truth, probabilities, known),
    )
    return Metrics(roles=roles, baselines=measures.baseline_measures(truth, guesses, masks, **shared)), evaluation


def _shown(rows: pd.DataFrame) -> list[str]:
    """What a person reads of each row."""
    columns = shown_columns(name for name in rows.columns if name in ("digest", "name", "text"))
    return [" · ".join(map(str, row)) for row in rows[columns].itertuples(index=False)]


def prediction_table(
    rows: pd.DataFrame, logits: FloatArray, *, temperature: float, labels: tuple[str, ...]
) -> pd.DataFrame:
    """What predictions.parquet holds: row_id, role, split, label (null where unknown), predicted, and the score of the
    predicted label before (``score``) and after temperature scaling (``calibrated``)."""
    predicted = logits.argmax(axis=1)
    return pd.DataFrame(
        {
            "row_id": list(rows["row_id"]),
            "role": list(rows["role"]),
            "split": list(rows["split"]),
            "label": list(rows["label"]),
            "predicted": [labels[i] for i in predicted],
            "score": softmax(logits).max(axis=1),
            "calibrated": softmax(logits, temperature).max(axis=1),
        }
    )
