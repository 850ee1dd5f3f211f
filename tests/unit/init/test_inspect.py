"""What `init` says of files that it looks through, before anything is written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from finetide.config.ingest import ColumnParams
from finetide.config.questions import QuestionColumnParams, QuestionIngestParams
from finetide.errors import DataError
from finetide.init.inspect import inspect, inspect_questions
from support.messages import rows, write_csv

CONTEXT = "The ferry leaves the old harbour at noon."
COLUMNS = QuestionColumnParams(
    id=None, question="question", context="context", answers="answers", split=None, group=None
)
PARAMS = QuestionIngestParams(columns=COLUMNS, encoding="auto")


def _squad(folder: Path, *answers: Any) -> Path:
    """One question an item, each with these answers; None: nothing is said of them."""
    asked = [
        {"id": f"q{number}", "question": f"When is ferry {number}?", **({} if given is None else {"answers": given})}
        for number, given in enumerate(answers)
    ]
    path = folder / "ferries.json"
    path.write_text(json.dumps({"data": [{"title": "t", "paragraphs": [{"context": CONTEXT, "qas": asked}]}]}))
    return path


def _answer(text: str, start: object) -> list[Mapping[str, object]]:
    return [{"text": text, "answer_start": start}]


@pytest.mark.parametrize(
    ("text", "start", "says"),
    [
        ("noon", 3, "'noon' at 3, and the context has ' fer' there; it stands at 36"),
        ("noon", -1, "answer_start of 'noon' is '-1'; it stands at 36"),
        ("noon", "36", "answer_start of 'noon' is '36'; it stands at 36"),
        ("Noon", 36, "'Noon' is spelled 'noon' there, at 36"),
        ("midnight", 36, "'midnight' is nowhere in 'The ferry"),
    ],
)
def test_when_no_answer_stands_the_first_question_is_shown(tmp_path: Path, text: str, start: object, says: str) -> None:
    path = _squad(tmp_path, _answer(text, start), _answer(text, start))
    with pytest.raises(DataError) as caught:
        inspect_questions([path], [], PARAMS)
    said = str(caught.value)
    assert said.startswith(f"{path}: data[0].paragraphs[0].qas[0] (id 'q0'): no question has an answer that stands")
    assert says in said
    assert "2 of 2 have a fault" in said
    assert "--answers ('answers' now)" in said


def test_when_nothing_is_said_of_answers_no_fault_is_named(tmp_path: Path) -> None:
    path = _squad(tmp_path, None, [], None)
    with pytest.raises(DataError, match=r"1 of 3 have none, and of 2 nobody has said") as caught:
        inspect_questions([path], [], PARAMS)
    assert "fault" not in str(caught.value)


def test_faults_are_counted_apart_from_silence_and_the_first_is_named(tmp_path: Path) -> None:
    path = _squad(tmp_path, _answer("noon", 36), _answer("noon", 35), None, _answer("noon", 4), [])
    said = inspect_questions([path], [], PARAMS).sentence
    assert said.startswith(
        "read 5 questions: 1 with an answer, 1 without one, 1 of which nobody has said, 2 with a fault"
    )
    assert f"the first at {path}: data[0].paragraphs[0].qas[1] (id 'q1'): answer not at its place: 'noon' at 35" in said
    assert "it stands at 36; fix: write answer_start: 36" in said


def test_sound_files_are_told_without_faults(tmp_path: Path) -> None:
    said = inspect_questions([_squad(tmp_path, _answer("noon", 36))], [], PARAMS).sentence
    assert said == "read 1 questions: 1 with an answer, 0 without one"


@pytest.mark.parametrize(
    ("label", "says"),
    [
        ("delivery", r"have one label in column 'intent'.*\(found 'delivery'\)\n  fix: check --label"),
        ("", r"have no label in column 'intent', and a model needs at least two to tell apart\n  fix: check --label"),
    ],
)
def test_too_few_labels_are_named(tmp_path: Path, label: str, says: str) -> None:
    path = write_csv(tmp_path / "shop.csv", [{**row, "intent": label} for row in rows(10, "shop", 1)])
    with pytest.raises(DataError, match=says):
        inspect([path], [], ColumnParams(text="body", label="intent", split=None, group=None), "auto")


def test_a_column_of_numbers_is_no_label(tmp_path: Path) -> None:
    columns = ColumnParams(text="body", label="intent", split=None, group=None)
    priced = [{**row, "intent": f"{number}.50"} for number, row in enumerate(rows(40, "shop", 1))]
    path = write_csv(tmp_path / "shop.csv", priced)
    says = (
        r"40 different labels on 40 reference rows in column 'intent': that is an id, .*"
        r"\(found '0\.50, 1\.50, 10\.50'\)\n  fix: check --label"
    )
    with pytest.raises(DataError, match=says):
        inspect([path], [], columns, "auto")
    twice = [{**row, "intent": str(number // 2)} for number, row in enumerate(rows(40, "shop", 1))]
    assert len(inspect([write_csv(tmp_path / "twice.csv", twice)], [], columns, "auto").labels) == 20
