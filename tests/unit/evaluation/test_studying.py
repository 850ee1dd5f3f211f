"""What studies ask of a family: grades by hand, and intervals that are those of evaluate and of the label studies."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from finetide.errors import ConfigError
from finetide.evaluation.kinds import KINDS, Sides, studying
from finetide.evaluation.studying_answers import ANSWERS
from finetide.evaluation.studying_labels import LABELS
from finetide.metrics.bootstrap import mean_bootstrap
from finetide.metrics.classification import METRICS
from finetide.metrics.means import bootstrap_mean

NONE = pd.DataFrame({"label": []})
CONTEXT = "Anna Berg built the mill in 1820. It is old."
GOLDS = (["1820"], ["Anna Berg"], ["in 1820", "1820"], [])


def labelled(*test: str) -> Sides:
    train = pd.DataFrame({"label": ["b", "b", "a"]})
    return Sides(train, NONE, pd.DataFrame({"label": list(test)}), ("a", "b", "c"))


def asked() -> Sides:
    test = pd.DataFrame(
        {
            "label": ["answerable" if golds else "unanswerable" for golds in GOLDS],
            "question": ["When was the mill built?", "Who built it?", "When?", "What does it cost?"],
            "context": CONTEXT,
            "answers": [json.dumps([{"text": gold, "answer_start": 0} for gold in golds]) for golds in GOLDS],
        }
    )
    return Sides(test, NONE, test, ("start", "end"))


def test_every_family_has_its_part_and_an_unknown_one_is_named() -> None:
    for task in KINDS:
        assert studying(task).metrics[0] in ("accuracy", "f1")
    with pytest.raises(ConfigError, match="unknown task"):
        studying("poetry")


def test_labels_are_graded_by_accuracy_and_macro_f1() -> None:
    sides = labelled("a", "a", "b", "c")
    grades = LABELS.grade(["a", "b", "b", "a"], sides)
    assert grades.tolist() == [[0, 0], [0, 1], [1, 1], [2, 0]]
    assert LABELS.value("accuracy", grades, sides) == 0.5
    # F1 of a 1/2, of b 2/3, of c 0
    assert LABELS.value("macro_f1", grades, sides) == pytest.approx((1 / 2 + 2 / 3) / 3)
    assert LABELS.guesses(sides) == {"majority": ("b",) * 4}


def test_intervals_of_labels_are_those_of_the_paired_bootstrap() -> None:
    chance = np.random.default_rng(3)
    truth, one, other = (chance.integers(0, 3, 60) for _ in range(3))
    sides = labelled(*(("a", "b", "c")[place] for place in truth))
    grades = [LABELS.grade([("a", "b", "c")[place] for place in said], sides) for said in (one, other)]
    for name, metric in METRICS.items():
        found = LABELS.mean(
            name, grades[:1], grades[1:], sides, resamples=200, confidence=0.9, chance=np.random.default_rng(5)
        )
        assert found == mean_bootstrap(
            truth, [one], minus=[other], labels=3, metric=metric, resamples=200, confidence=0.9,
            chance=np.random.default_rng(5),
        )  # fmt: skip


def test_answers_are_graded_by_f1_and_exact_match() -> None:
    sides = asked()
    grades = ANSWERS.grade(["in 1820", "Berg", "1820", ""], sides)
    assert grades.tolist() == [
        [pytest.approx(2 / 3), 0.0], [pytest.approx(2 / 3), 0.0], [1.0, 1.0], [1.0, 1.0],
    ]  # fmt: skip
    assert ANSWERS.value("f1", grades, sides) == pytest.approx(5 / 6)
    assert ANSWERS.value("exact_match", grades, sides) == 0.5
    guesses = ANSWERS.guesses(sides)
    assert set(guesses) == {"lexical", "no answer"}
    assert ANSWERS.value("exact_match", ANSWERS.grade(guesses["no answer"], sides), sides) == 0.25


def test_intervals_of_answers_are_of_the_mean_difference_a_row() -> None:
    sides = asked()
    runs = [ANSWERS.grade(said, sides) for said in (["1820", "Anna Berg", "", ""], ["1820", "", "", "old"])]
    theirs = ANSWERS.grade(["in 1820", "Berg", "1820", ""], sides)
    found = ANSWERS.mean("f1", runs, [theirs], sides, resamples=200, confidence=0.9, chance=np.random.default_rng(5))
    values = (runs[0][:, 0] + runs[1][:, 0]) / 2 - theirs[:, 0]
    assert found == bootstrap_mean(values, resamples=200, confidence=0.9, chance=np.random.default_rng(5))
    assert found.value == pytest.approx((1 + 0.5 + 0 + 0.5) / 4 - 5 / 6)
    assert ANSWERS.left_out.keys() == {"probe"}
