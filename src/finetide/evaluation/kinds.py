"""What evaluate and judge ask of a family: a literal table, imported on use. Only the part of the stage that runs
counts as its code (`finetide.pipeline.codelock`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from finetide.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    from finetide.config.judge import JudgeParams
    from finetide.contracts.metrics import AnswerEvaluation, Evaluation, Metrics
    from finetide.evaluation.baselines import Probe
    from finetide.evaluation.verdict import Judgement
    from finetide.task import Anchors, Examples

    FloatArray = np.ndarray[Any, np.dtype[Any]]

KINDS: dict[str, dict[str, str]] = {
    "text-classification": {
        "evaluate": "finetide.evaluation.labels:SCORES",
        "judge": "finetide.evaluation.judging_labels:LABELS",
    },
    "image-classification": {
        "evaluate": "finetide.evaluation.labels:SCORES",
        "judge": "finetide.evaluation.judging_labels:LABELS",
    },
    "question-answering": {
        "evaluate": "finetide.evaluation.questions:SCORES",
        "judge": "finetide.evaluation.judging_answers:ANSWERS",
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
    model: Callable[[pd.DataFrame], tuple[Examples, FloatArray]]
    base: Callable[[Sequence[pd.DataFrame]], list[FloatArray]]
    anchors: Anchors
    probe: Probe
    measures: tuple[str, ...]
    params: Any
    seed: int


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


def scores(task: str) -> Scores:
    return _load(task, "evaluate")  # type: ignore[no-any-return]


def judging(task: str) -> Judging:
    return _load(task, "judge")  # type: ignore[no-any-return]


def _load(task: str, stage: str) -> Any:
    """Raises: ConfigError for a task that is not in `KINDS`."""
    if task not in KINDS:
        raise ConfigError("unknown task", where="params.yaml", found=task, fix=f"known: {', '.join(KINDS)}")
    module, _, attribute = KINDS[task][stage].partition(":")
    return getattr(import_module(module), attribute)
