"""What goes wrong with questions and answers, each brought about once: caught with its row, its value and a fix."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from finetide.config.questions import QuestionColumnParams, QuestionIngestParams, QuestionValidateParams
from finetide.contracts.quality import Finding
from finetide.contracts.window import Window, WindowFile
from finetide.data.quality import Asked, Quality, judge_rows
from finetide.data.questions.checks import Questions
from finetide.data.questions.reading import ingest
from finetide.data.suites import default_suite
from finetide.errors import DataError
from finetide.files import sha256_file
from support.questions import rows, squad, write_jsonl, write_squad

COLUMNS = QuestionColumnParams(
    id="id", question="question", context="context", answers="answers", split=None, group=None
)
PARAMS = QuestionIngestParams(columns=COLUMNS, encoding="auto")
VALIDATE = QuestionValidateParams(min_context_length=40, near_duplicate_similarity=0.8, max_quarantine_share=0.2)
SUITE = {"name": "none", "expectations": []}
# The row that is corrupted: who built the south bridge.
ROW, LINE = 4, 5
Change = Callable[[dict[str, Any]], None]


def read(path: Path, params: QuestionIngestParams = PARAMS) -> pd.DataFrame:
    file = WindowFile(path=path.name, sha256=sha256_file(path), role="reference")
    window = Window(model="m", start="base", champion=None, files=(file,))
    return ingest(window, path.parent, params).rows


def words(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) + 2 for text in texts]


def assess(found: pd.DataFrame, suite: dict[str, Any] = SUITE, max_length: int = 64) -> Quality:
    asked = Asked(suite, VALIDATE, Path("base"), max_length, True)
    return judge_rows(found, suite, VALIDATE, Questions(VALIDATE, words, asked), first_window=True)


def finding(quality: Quality, check: str) -> Finding:
    return next(one for one in quality.verdict.findings if one.check == check)


def put(**values: Any) -> Change:
    return lambda row: row.update(values)


def answer(**values: Any) -> Change:
    return lambda row: row["answers"][0].update(values)


def shift(by: int) -> Change:
    return lambda row: row["answers"][0].update(answer_start=row["answers"][0]["answer_start"] + by)


def cell(make: Callable[[dict[str, Any]], Any]) -> Change:
    return lambda row: row.update(answers=make(row))


def long_answer(row: dict[str, Any]) -> None:
    row["answers"] = [{"text": row["context"], "answer_start": 0}]


def blank(row: dict[str, Any]) -> None:
    one = row["answers"][0]
    one.update(text=f" {one['text']}", answer_start=one["answer_start"] - 1)


def twice(row: dict[str, Any]) -> None:
    row["answers"][0] = {"text": "the"}


# What is done to the row → check, what the message says, what the fix says, whether the row goes to quarantine.
CORRUPTED: dict[str, tuple[Change, str, str, str, bool]] = {
    "no question": (put(question=""), "empty question", "x.jsonl:5: asks nothing of", "write the question", True),
    "a blank question": (put(question=" \t"), "empty question", "x.jsonl:5", "write the question", True),
    "no context": (put(context=None), "missing context", "'Who built the south bridge?' has", "write the", True),
    "an offset too high": (shift(7), "answer not at its place", "it stands at 62", "write answer_start: 62", True),
    "an offset from 1": (shift(1), "answer not at its place", "it stands at 62", "write answer_start: 62", True),
    "an offset beyond the end": (
        answer(answer_start=9999), "answer not at its place", "the context has 123 characters", "answer_start: 62", True
    ),
    "a negative offset": (
        answer(answer_start=-1), "answer_start that is no place", "is '-1'", "characters before it, from 0", True
    ),
    "an offset in words": (
        answer(answer_start="twelve"), "answer_start that is no place", "'twelve'", "characters before it, from 0", True
    ),
    "no offset, several places": (
        twice, "answer without its place", "'the' stands at 16, ", "write answer_start", True
    ),
    "an answer from elsewhere": (
        answer(text="karl the great"), "answer that is not in its context", "'karl the great' is nowhere", "copy", True
    ),
    "an answer spelled otherwise": (
        answer(text="KARLA"), "answer that is not in its context", "is spelled 'karla' there, at 62",
        'write {"text": "karla", "answer_start": 62}', True,
    ),
    "an empty answer": (answer(text=" "), "answer without a text", "text is ' '", "[] where there are none", True),
    "an answer that is a number": (answer(text=1898), "answer without a text", "is '1898'", "as the context", True),
    "answers as a text": (
        put(answers="karla"), "answers that are no list", "'karla' is no JSON", 'a list of {"text": …', True
    ),
    "answers as a number": (put(answers=7), "answers that are no list", "'7' is a int", "a list of", True),
    "answers as texts": (put(answers=["karla"]), "answers that are no list", "stands in the list", "a list of", True),
    "texts without places": (
        put(answers={"text": ["karla", "x"], "answer_start": [62]}), "answers that are no list",
        "2 texts with 1 places", "give every text its answer_start", True,
    ),
    "impossible, and an answer": (
        put(is_impossible=True), "impossible with an answer", "is_impossible is true, and 'karla' is given",
        "take the answers out", True,
    ),
    "possible, and no answer": (
        put(is_impossible=False, answers=[]), "possible without an answer", "no answer is given",
        "or is_impossible: true", True,
    ),
    "no word on answers": (put(answers=None), "missing answers", "1 question with the role", "[] where", True),
    "an id of another": (put(id="q0-who"), "id that is there twice", "'q0-who': x.jsonl:1, x.jsonl:5", "its own", True),
    "a copy of another": (
        lambda row: row.update(rows(1)[1], id="copy"), "duplicate question", "x.jsonl:5 as x.jsonl:2", "into one row",
        False,
    ),
    "a copy without an answer": (
        lambda row: row.update(rows(1)[1], id="copy", answers=[]), "answer and no answer",
        "x.jsonl:2 answerable, x.jsonl:5 unanswerable", "decide which is right", True,
    ),
    "a copy with another answer": (
        lambda row: row.update(rows(1)[1], id="copy", answers=rows(1)[0]["answers"]), "question answered in two ways",
        "x.jsonl:5", "all right answers into one row", False,
    ),
    "the whole context as the answer": (
        long_answer, "answer as long as a paragraph", "1 question with an answer of more than 30", "shorten it", False
    ),
    "blanks around the answer": (blank, "answer with blanks around it", "1 question", "take the blanks away", False),
    "a context cut off": (
        lambda row: row.update(context=row["context"][:30], answers=[]), "short context", "fewer than 40", "is whole",
        False,
    ),
    "a question like a paragraph": (
        put(question="who " * 40), "question longer than half a window", "up to 42 tokens", "raise train.max_length",
        False,
    ),
    "a context changed by a word": (
        lambda row: row.update(context=rows(1)[0]["context"].replace("and people", "and many people"), answers=[]),
        "near-duplicate context", "that of x.jsonl:5 is 9", "split keeps them on one side", False,
    ),
}  # fmt: skip


@pytest.fixture
def no_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    """Great Expectations takes its time, and finds none of these."""
    monkeypatch.setattr("finetide.data.quality.run_suite", lambda suite, table: [])


@pytest.mark.usefixtures("no_suite")
@pytest.mark.parametrize("name", CORRUPTED)
def test_a_corrupted_row_is_found(name: str, tmp_path: Path) -> None:
    change, check, said, fix, quarantined = CORRUPTED[name]
    found = [dict(row, answers=[dict(one) for one in row["answers"]]) for row in rows(12)]
    change(found[ROW])
    quality = assess(read(write_jsonl(tmp_path / "x.jsonl", found)))
    seen = finding(quality, check)
    assert said in seen.message
    assert fix in seen.fix
    ref = next(row for row in seen.rows if row.line == LINE)
    assert ref.file == "x.jsonl"
    assert (f"x.jsonl:{LINE}" in set(quality.quarantine["row_id"])) == quarantined
    assert quality.verdict.verdict == "pass"


def test_sound_rows_pass(tmp_path: Path) -> None:
    quality = assess(read(write_jsonl(tmp_path / "x.jsonl", rows(12, without=2))), default_suite("question-answering"))
    assert [one.check for one in quality.verdict.findings if one.severity == "critical"] == []
    assert [one.check for one in quality.verdict.findings if one.severity == "warning"] == [
        "questions without an answer"
    ]
    assert quality.verdict.counts["reference"] == {"answerable": 48, "unanswerable": 6}


@pytest.mark.usefixtures("no_suite")
def test_many_bad_rows_fail_and_are_counted(tmp_path: Path) -> None:
    found = rows(12)
    for row in found:
        row["answers"][0]["answer_start"] += 1
    quality = assess(read(write_jsonl(tmp_path / "x.jsonl", found)))
    seen = finding(quality, "answer not at its place")
    assert quality.verdict.verdict == "fail"
    assert seen.count == 48
    assert "48 questions: x.jsonl:1: " in seen.message
    assert seen.message.endswith("and 45 more")


@pytest.mark.usefixtures("no_suite")
def test_an_answer_that_no_window_holds_is_found(tmp_path: Path) -> None:
    found = rows(3)
    long_answer(found[1])
    quality = assess(read(write_jsonl(tmp_path / "x.jsonl", found)), max_length=24)
    seen = finding(quality, "answer longer than a window")
    assert [row.line for row in seen.rows] == [2]
    assert "which no window of 24 tokens holds whole" in seen.message


def spoil(change: Callable[[dict[str, Any]], None]) -> str:
    document = squad(rows(3))
    change(document)
    return json.dumps(document)


# A file that cannot be read → what the error says.
FILES: dict[str, tuple[str, str]] = {
    "no JSON": ("{", "a.json: is no JSON: "),
    "a list": ("[]", r"a.json: is not SQuAD's JSON: it has no list `data` \(found '\[\]'\)"),
    "no paragraphs": (spoil(lambda d: d["data"][0].pop("paragraphs")), r"a.json: data\[0\]: has no list `paragraphs`"),
    "no qas": (
        spoil(lambda d: d["data"][0]["paragraphs"][0].pop("qas")),
        r"a.json: data\[0\].paragraphs\[0\]: has no list `qas`",
    ),
    "a question that is no object": (
        spoil(lambda d: d["data"][0]["paragraphs"][0].update(qas=["x"])),
        r"a.json: data\[0\].paragraphs\[0\].qas\[0\]: is no object \(found 'x'\)",
    ),
    "nothing in it": ('{"data": []}', "a.json: holds no question"),
    "half a character": (
        spoil(lambda d: d["data"][0]["paragraphs"][0].update(context="a \udcff")), "half a character"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_broken_squad_file_is_refused_with_its_place(name: str, tmp_path: Path) -> None:
    text, said = FILES[name]
    path = tmp_path / "a.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=said):
        read(path)


@pytest.mark.usefixtures("no_suite")
def test_a_fault_in_a_squad_file_is_named_by_its_place(tmp_path: Path) -> None:
    found = rows(12)
    shift(3)(found[ROW])
    quality = assess(read(write_squad(tmp_path / "x.json", found)))
    (place,) = quality.quarantine["place"]
    assert place == "data[0].paragraphs[1].qas[0]"
    assert quality.quarantine["id"].tolist() == ["q1-who"]


def test_a_missing_column_is_named_with_the_one_that_was_meant(tmp_path: Path) -> None:
    found = [{"contexts": row.pop("context"), **row} for row in rows(2)]
    says = r"x.jsonl: has no column 'context' \(context\), did you mean 'contexts'\?"
    with pytest.raises(DataError, match=says):
        read(write_jsonl(tmp_path / "x.jsonl", found))
