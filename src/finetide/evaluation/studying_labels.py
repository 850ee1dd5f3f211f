"""What studies ask of families that give every row one label; see `finetide.evaluation.kinds.Studying`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from finetide.contracts.study import Method
from finetide.evaluation import baselines
from finetide.evaluation.align import align, label_indices
from finetide.evaluation.kinds import Sides
from finetide.metrics.bootstrap import Interval, mean_bootstrap
from finetide.metrics.classification import METRICS, FloatArray, IntArray, count
from finetide.task import Anchors

if TYPE_CHECKING:
    from finetide.evaluation.kinds import Base, Model


class _Labels:
    """Grades are label indices, [rows, 2]: the true one and the one that is said."""

    metrics = tuple(METRICS)
    unit = "labels"
    made: Mapping[Method, str] = {
        "probe": "logistic regression on the frozen base; validation chooses the strength of its penalty",
        "zero-shot": "no training: the label whose text, or whose examples' mean, lies nearest to the row, by the base",
    }
    left_out: Mapping[Method, str] = {}

    def said(self, model: Model, sides: Sides) -> tuple[str, ...]:
        examples, outputs = model(sides.test.assign(label=None))
        return _names(align(list(sides.test["row_id"]), examples.ids, outputs).argmax(axis=1), sides)

    def zero_shot(self, anchors: Anchors, features: FloatArray, base: Base, sides: Sides) -> tuple[str, ...]:
        labels = baselines.means(features, anchors.owner, len(sides.labels))
        (rows,) = base([sides.test])
        return _names(baselines.zero_shot(rows, labels), sides)

    def guesses(self, sides: Sides) -> dict[str, tuple[str, ...]]:
        train = label_indices(list(sides.train["label"]), sides.labels)
        return {"majority": _names(baselines.majority(train, len(sides.test)), sides)}

    def grade(self, said: Sequence[str], sides: Sides) -> IntArray:
        return np.stack([label_indices(names, sides.labels) for names in (list(sides.test["label"]), said)], axis=1)

    def value(self, metric: str, grades: IntArray, sides: Sides) -> float:
        return float(METRICS[metric](count(grades[:, 0], grades[:, 1], len(sides.labels))))

    def mean(
        self, metric: str, runs: Sequence[IntArray], minus: Sequence[IntArray], sides: Sides, *, resamples: int,
        confidence: float, chance: np.random.Generator,
    ) -> Interval:  # fmt: skip
        return mean_bootstrap(
            runs[0][:, 0], [one[:, 1] for one in runs], minus=[one[:, 1] for one in minus], labels=len(sides.labels),
            metric=METRICS[metric], resamples=resamples, confidence=confidence, chance=chance,
        )  # fmt: skip


def _names(indices: IntArray, sides: Sides) -> tuple[str, ...]:
    return tuple(sides.labels[index] for index in indices.tolist())


LABELS = _Labels()
