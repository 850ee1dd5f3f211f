"""What evaluate, judge and the studies ask of a family: a literal table, imported on use. Only the part of the stage
that runs counts as its code (`finetide.pipeline.codelock`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from finetide.task import entry, imported

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    from finetide.config.judge import JudgeParams
    from finetide.contracts.metrics import AnswerEvaluation, Evaluation, Metrics
    from finetide.contracts.study import Method
    from finetide.evaluation.baselines import Probe
    from finetide.evaluation.verdict import Judgement
    from finetide.metrics.bootstrap import Interval
    from finetide.task import Anchors, Examples

    FloatArray = np.ndarray[Any, np.dtype[Any]]
    Model = Callable[[pd.DataFrame], tuple[Examples, FloatArray]]
    Base = Callable[[Sequence[pd.DataFrame]], list[FloatArray]]

KINDS: dict[str, dict[str, str]] = {
    "text-classification": {
        "evaluate": "finetide.evaluation.labels:SCORES",
        "judge": "finetide.evaluation.judging_labels:LABELS",
        "study": "finetide.evaluation.studying_labels:LABELS",
    },
    "image-classification": {
        "evaluate": "finetide.evaluation.labels:SCORES",
        "judge": "finetide.evaluation.judging_labels:LABELS",
        "study": "finetide.evaluation.studying_labels:LABELS",
    },
    "question-answering": {
        "evaluate": "finetide.evaluation.questions:SCORES",
        "judge": "finetide.evaluation.judging_answers:ANSWERS",
        "study": "finetide.evaluation.studying_answers:ANSWERS",
    },
}


@dataclass(frozen=True)
class Held:
    """``rows``: the whole table; ``held``: its validation and test rows. ``model``: rows → examples and the model's
    outputs of them; ``base``: rows → the untouched base's features, [rows, hidden] float64, in their order.
    ``anchors``: what stands for what zero-shot may say."""

    rows: pd.DataFrame
    held: pd.DataFrame
    labels: tuple[str, ...]
    model: Model
    base: Base
    anchors: Anchors
    probe: Probe
    measures: tuple[str, ...]
    params: Any
    seed: int


@dataclass(frozen=True)
class Sides:
    """The labelled rows of a study. ``labels``: those of the model."""

    train: pd.DataFrame
    validation: pd.DataFrame
    test: pd.DataFrame
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Scored:
    """``table``: predictions.parquet; ``pairs``: confusion.csv, ``actual`` and ``predicted`` of the scored rows."""

    metrics: Metrics
    evaluation: Evaluation | AnswerEvaluation
    table: pa.Table
    pairs: pd.DataFrame


class Scores(Protocol):
    """For evaluate."""

    def score(self, held: Held) -> Scored:
        """Measures of the labelled test rows, the model's and its baselines'."""


class Judging(Protocol):
    """For judge. ``params``: its section of params.yaml."""

    params: type[JudgeParams]

    def judge(
        self, test: pd.DataFrame, challenger: Sequence[Any], champion: Sequence[Any] | None, params: Any, seed: int
    ) -> Judgement:
        """Args: test: labelled rows; challenger, champion: what `finetide.runtime` predicts of them."""


class Studying(Protocol):
    """For studies. ``metrics``: what test rows are measured by, as in metrics.json, the main one first. ``unit``: what
    labelled rows are called where they are counted. ``made``: how methods that depend on the family are made;
    ``left_out``: those that it does not have, and why."""

    metrics: tuple[str, ...]
    unit: str
    made: Mapping[Method, str]
    left_out: Mapping[Method, str]

    def said(self, model: Model, sides: Sides) -> tuple[str, ...]:
        """A trained model's prediction of each test row. Args: model: see `Held`."""

    def zero_shot(self, anchors: Anchors, features: FloatArray, base: Base, sides: Sides) -> tuple[str, ...]:
        """The untouched base's. Args: features: of the anchors, [rows, hidden]; base: see `Held`."""

    def guesses(self, sides: Sides) -> dict[str, tuple[str, ...]]:
        """What one says of each test row without any model, by baseline."""

    def grade(self, said: Sequence[str], sides: Sides) -> FloatArray:
        """Of each test row how good what is said of it is, [rows, ...]: for `value` and `mean`, all rows or some."""

    def value(self, metric: str, grades: FloatArray, sides: Sides) -> float:
        """The metric on at least one row."""

    def mean(
        self,
        metric: str,
        runs: Sequence[FloatArray],
        minus: Sequence[FloatArray],
        sides: Sides,
        *,
        resamples: int,
        confidence: float,
        chance: np.random.Generator,
    ) -> Interval:
        """Mean metric of ``runs`` less the mean of ``minus``, grades of the same rows; its interval is about which rows
        were drawn."""  # fmt: skip


def scores(task: str) -> Scores:
    return imported(entry(KINDS, task)["evaluate"])  # type: ignore[no-any-return]


def judging(task: str) -> Judging:
    return imported(entry(KINDS, task)["judge"])  # type: ignore[no-any-return]


def studying(task: str) -> Studying:
    return imported(entry(KINDS, task)["study"])  # type: ignore[no-any-return]
