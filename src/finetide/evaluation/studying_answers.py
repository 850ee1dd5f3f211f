"""What studies ask of question answering; see `finetide.evaluation.kinds.Studying`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from finetide.contracts.study import Method
from finetide.data.questions.schema import UNANSWERABLE
from finetide.evaluation.kinds import Sides
from finetide.evaluation.questions import asked_of, fitted, found_of, graded, guesses, nearest, question_table
from finetide.metrics.bootstrap import Interval
from finetide.metrics.classification import FloatArray
from finetide.metrics.means import bootstrap_mean
from finetide.spans import choose
from finetide.task import Anchors

if TYPE_CHECKING:
    from finetide.evaluation.kinds import Base, Model


class _Answers:
    """What is said is the answer's text, empty where there is none. Grades are scores, [rows, metrics], 0 to 1."""

    metrics = ("f1", "exact_match")
    unit = "questions"
    made: Mapping[Method, str] = {
        "zero-shot": "no training: of the sentence that lies nearest to the question, by the base, the longest run of "
        "words that the question does not have",
    }
    left_out: Mapping[Method, str] = {
        "probe": "its solver fits one label a row, and an answer is a place in a text; the same head on the frozen "
        "base is what the policy head trains (finetide layers)",
    }

    def said(self, model: Model, sides: Sides) -> tuple[str, ...]:
        """At the null threshold that fits validation best, as evaluate does it."""
        validation, test = asked_of(sides.validation), asked_of(sides.test)
        threshold, _ = fitted(found_of(model, sides.validation), validation, sides.train["label"])
        found = found_of(model, sides.test)
        return tuple(choose(one, ask.context, threshold, 1.0).text for one, ask in zip(found, test, strict=True))

    def zero_shot(self, anchors: Anchors, features: FloatArray, base: Base, sides: Sides) -> tuple[str, ...]:
        asked = asked_of(sides.test)
        (questions,) = base([question_table(asked)])
        return tuple(nearest(anchors, features, questions, asked))

    def guesses(self, sides: Sides) -> dict[str, tuple[str, ...]]:
        some_without = UNANSWERABLE in {*sides.train["label"], *sides.validation["label"]}
        return {name: tuple(said) for name, said in guesses(asked_of(sides.test), some_without).items()}

    def grade(self, said: Sequence[str], sides: Sides) -> FloatArray:
        found = graded(said, asked_of(sides.test))
        return np.stack([found[metric] for metric in self.metrics], axis=1)

    def value(self, metric: str, grades: FloatArray, sides: Sides) -> float:
        del sides
        return float(self._of(metric, grades).mean())

    def mean(
        self, metric: str, runs: Sequence[FloatArray], minus: Sequence[FloatArray], sides: Sides, *, resamples: int,
        confidence: float, chance: np.random.Generator,
    ) -> Interval:  # fmt: skip
        del sides
        values = np.mean([self._of(metric, one) for one in runs], axis=0)
        if minus:
            values = values - np.mean([self._of(metric, one) for one in minus], axis=0)
        return bootstrap_mean(values, resamples=resamples, confidence=confidence, chance=chance)

    def _of(self, metric: str, grades: FloatArray) -> FloatArray:
        return grades[:, self.metrics.index(metric)]


ANSWERS = _Answers()
