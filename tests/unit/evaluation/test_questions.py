"""Measures of answers, their baselines, and the judge of two models' answers."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from finetide.config.questions import QuestionEvaluateParams, QuestionJudgeParams
from finetide.contracts.metrics import AnswerEvaluation
from finetide.evaluation.baselines import Probe
from finetide.evaluation.judging_answers import ANSWERS
from finetide.evaluation.kinds import Held, Scored
from finetide.evaluation.questions import SCORES, lexical, tune
from finetide.spans import Asked, Found, Reading, Span, Window
from finetide.task import Anchors, Examples
from support.questions import rows

READING = Reading(64, 8, 16, 8)
PARAMS = QuestionEvaluateParams(bootstrap=200, confidence=0.9, calibration_bins=5)
JUDGE = QuestionJudgeParams(
    metric="f1", confidence=0.95, non_inferiority_margin=0.02, slice_margin=0.1, min_slice_rows=15, floor=0.2,
    label_floor=0.0, bootstrap=400,
)  # fmt: skip


def table(count: int = 24, without: int = 2) -> pd.DataFrame:
    made = rows(count, without=without)
    sides = ["validation" if place % 3 == 0 else "test" for place in range(len(made))]
    return pd.DataFrame(
        {
            "row_id": [row["id"] for row in made],
            "role": ["reference" if place % 4 else "incoming" for place in range(len(made))],
            "split": sides,
            "label": ["answerable" if row["answers"] else "unanswerable" for row in made],
            "question": [row["question"] for row in made],
            "context": [row["context"] for row in made],
            "answers": [json.dumps(row["answers"]) for row in made],
        }
    )


def says(found: pd.DataFrame, wrong: frozenset[str]) -> tuple[Examples, Any]:
    """Outputs of a model of one word a token, right but for ``wrong``. Rows come in another order than they are asked
    in, as a model may give them."""
    order = found.iloc[::-1]
    windows, outputs = [], []
    for row, (row_id, question, context, said) in enumerate(
        order[["row_id", "question", "context", "answers"]].itertuples(index=False)
    ):
        starts = [0, *(place + 1 for place, sign in enumerate(context) if sign == " ")]
        offsets = np.array([(start, start + len(context[start:].split()[0].rstrip(".,"))) for start in starts])
        window = Window([9] * (len(offsets) + 2), [], 2, offsets, row, Asked(question, context), READING)
        logits = np.full((2, 64), -5.0, np.float32)
        answers = json.loads(said)
        if row_id in wrong:
            logits[:, len(offsets) + 1] = 5.0  # the last word is no answer to any
        elif answers:
            logits[:, 2 + int(np.searchsorted(offsets[:, 0], answers[0]["answer_start"]))] = 5.0
        else:
            logits[:, 0] = 5.0
        windows.append(window)
        outputs.append(logits.ravel())
    ids = tuple(order["row_id"])
    lengths = np.array([len(one.ids) for one in windows])
    return Examples(ids, windows, lengths, np.zeros((len(ids), 2), np.int64)), np.stack(outputs)


def score(found: pd.DataFrame, wrong: frozenset[str] = frozenset()) -> Scored:
    def base(of: Any) -> list[Any]:
        """Words in common, so that the nearest sentence is known."""
        words = sorted({word for part in of for text in part["text"] for word in text.lower().split()})
        return [
            np.array([[float(word in text.lower().split()) for word in words] for text in part["text"]]) for part in of
        ]

    test = found[found["split"] == "test"]
    contexts = list(dict.fromkeys(test["context"]))
    anchors = Anchors(
        "zero-shot",
        pd.DataFrame({"row_id": [f"s{place}" for place in range(len(contexts))], "text": contexts}),
        np.arange(len(contexts)),
    )
    held = Held(
        rows=found.assign(split="train"), held=found, labels=("start", "end"), model=lambda of: says(of, wrong),
        base=base, anchors=anchors, probe=Probe(np.zeros((0, 1)), np.zeros(0)), measures=(), params=PARAMS,
        seed=1,
    )  # fmt: skip
    return SCORES.score(held)


def test_a_perfect_model_has_perfect_measures_and_no_mistakes() -> None:
    found = score(table())
    for role in ("reference", "incoming", "all"):
        measures = found.metrics.roles[role]
        assert {name: measures[name].value for name in ("exact_match", "f1", "answered_f1", "unanswered")} == {
            "exact_match": 1.0, "f1": 1.0, "answered_f1": 1.0, "unanswered": 1.0,
        }  # fmt: skip
    assert isinstance(found.evaluation, AnswerEvaluation)
    assert found.evaluation.mistakes == ()
    assert (found.pairs["actual"] == found.pairs["predicted"]).all()


def test_wrong_answers_are_counted_shown_and_joined_by_row() -> None:
    rows_ = table()
    test = rows_[rows_["split"] == "test"]
    wrong = frozenset(test["row_id"][:9])
    found = score(rows_, wrong)
    assert found.metrics.roles["all"]["exact_match"].value == pytest.approx(1 - 9 / len(test))
    assert found.metrics.roles["all"]["exact_match"].rows == len(test)
    assert isinstance(found.evaluation, AnswerEvaluation)
    assert {mistake.row_id for mistake in found.evaluation.mistakes} == wrong
    said = found.table.to_pandas().set_index("row_id")
    assert set(said.index[(said["exact_match"] == 0) & (said["split"] == "test")]) == wrong
    kinds = found.evaluation.kinds["all"]
    assert sum(report.rows for kind, report in kinds.items() if not kind.startswith("(")) == len(test)


def test_baselines_stand_beside_and_the_empty_answer_only_where_some_have_none() -> None:
    found = score(table()).metrics.baselines
    assert set(found) == {"lexical", "zero-shot", "no answer"}
    share = (table().query("split == 'test'")["label"] == "unanswerable").mean()
    assert found["no answer"]["all"]["exact_match"].value == pytest.approx(share)
    assert 0 < found["lexical"]["all"]["f1"].value < 1
    answered = score(table(without=0))
    assert set(answered.metrics.baselines) == {"lexical", "zero-shot"}
    assert isinstance(answered.evaluation, AnswerEvaluation)
    assert answered.evaluation.null_threshold is None
    assert "unanswered" not in answered.metrics.roles["all"]


def test_the_lexical_baseline_takes_the_rest_of_the_sentence_that_shares_most_words() -> None:
    context = "The mill is old. Anna Berg built the mill in 1820. The walls are red."
    assert lexical("Who built the mill?", context) == "Anna Berg"
    assert lexical("What colour are the walls?", context) == "red."
    assert lexical("Nothing in common", "One two.") == "One two."


def test_nothing_to_tune_on_leaves_scores_as_they_are() -> None:
    assert tune([], []) == (None, 1.0)
    found = [Found([Span(1.0, 0, 1)], 0.0)]
    assert tune(found, [Asked("q", "a", ("a",))]) == (None, 1.0)


def judged(challenger: list[str], champion: list[str] | None, test: pd.DataFrame, **changes: Any) -> Any:
    def answers(texts: list[str]) -> list[Any]:
        return [SimpleNamespace(text=text) for text in texts]

    params = JUDGE.model_copy(update=changes)
    return ANSWERS.judge(test, answers(challenger), None if champion is None else answers(champion), params, 1)


@pytest.fixture
def test_rows() -> pd.DataFrame:
    return table(40)


def golds(test: pd.DataFrame) -> list[str]:
    return [next((one["text"] for one in json.loads(said)), "") for said in test["answers"]]


def test_a_first_model_is_judged_by_the_floors(test_rows: pd.DataFrame) -> None:
    right = golds(test_rows)
    assert judged(right, None, test_rows).promote
    none = judged(["nowhere"] * len(right), None, test_rows)
    assert none.reasons == ("F1 0.000 is below the floor of 0.2",)
    low = judged(right[:-60] + ["nowhere"] * 60, None, test_rows, label_floor=0.9)
    assert any(reason.endswith(" is its F1, below the floor of 0.9") for reason in low.reasons)
    exact = judged(right[:-60] + ["nowhere"] * 60, None, test_rows, label_floor=0.9, metric="exact_match")
    assert any(reason.endswith(" of its answers match exactly, below the floor of 0.9") for reason in exact.reasons)
    assert judged(["nowhere"] * len(right), None, test_rows, metric="exact_match").reasons[0] == (
        "exact match 0.000 is below the floor of 0.2"
    )
    assert judged([], None, test_rows.head(0)).reasons == ("there is no labelled test row to judge on",)


def test_a_model_that_loses_is_rejected_and_an_equal_one_is_not(test_rows: pd.DataFrame) -> None:
    right = golds(test_rows)
    same = judged(right, right, test_rows)
    assert same.promote
    assert same.p == 1.0
    assert same.against.value == 0.0
    worse = ["nowhere" if place % 4 == 0 else text for place, text in enumerate(right)]
    lost = judged(worse, right, test_rows)
    assert not lost.promote
    assert lost.reasons[0].startswith("significantly worse than the champion: F1 -0.")
    assert lost.p < 0.01
    assert judged(right, worse, test_rows).promote


def test_a_kind_of_question_that_got_worse_is_named(test_rows: pd.DataFrame) -> None:
    right = golds(test_rows)
    lost = [
        "nowhere" if question.startswith("Who") else text
        for question, text in zip(test_rows["question"], right, strict=True)
    ]
    before = [
        "nowhere" if question.startswith("How") else text
        for question, text in zip(test_rows["question"], right, strict=True)
    ]
    found = judged(lost, before, test_rows, non_inferiority_margin=0.5)
    # Half of the questions without an answer begin with Who.
    assert [reason.split(":")[:2] for reason in found.reasons] == [["question", "who"], ["label", "unanswerable"]]
    slices = {one.slice: one for one in found.slices}
    assert {"role:reference", "role:incoming", "label:answerable", "label:unanswerable"} <= set(slices)
    assert all(" of its rows " not in one.reason for one in found.slices)
    assert slices["question:how"].difference == pytest.approx(1.0, abs=0.01)
