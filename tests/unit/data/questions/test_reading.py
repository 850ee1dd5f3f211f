"""SQuAD's JSON and tables of questions become the same rows."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finetide.config.questions import QuestionColumnParams, QuestionIngestParams
from finetide.config.split import SplitParams
from finetide.contracts.rows import Role
from finetide.contracts.window import Window, WindowFile
from finetide.data.leakage import check
from finetide.data.questions import answers
from finetide.data.questions.contents import CONTENTS
from finetide.data.questions.reading import SOURCE, examine, ingest
from finetide.data.questions.schema import SCHEMA
from finetide.data.split import assign
from finetide.data.table import read_rows, write_rows
from finetide.errors import DataError
from finetide.files import sha256_file
from support.questions import rows, squad, write_jsonl, write_squad

COLUMNS = QuestionColumnParams(
    id="id", question="question", context="context", answers="answers", split=None, group=None
)
PARAMS = QuestionIngestParams(columns=COLUMNS, encoding="auto")
SAID = ["question", "context", "answers", "id", "label"]


def read(folder: Path, params: QuestionIngestParams = PARAMS, **roles: Role) -> pd.DataFrame:
    files = tuple(
        WindowFile(path=path.name, sha256=sha256_file(path), role=roles.get(path.stem, "reference"))
        for path in sorted(folder.iterdir())
    )
    return ingest(Window(model="m", start="base", champion=None, files=files), folder, params).rows


def of_title(group: str) -> QuestionIngestParams:
    return QuestionIngestParams(columns=COLUMNS.model_copy(update={"group": group}), encoding="auto")


def test_every_format_gives_the_same_rows(tmp_path: Path) -> None:
    found = sorted(rows(12, without=3), key=lambda row: row["title"])
    for name in ("json", "gz", "jsonl", "csv", "parquet", "hf"):
        (tmp_path / name).mkdir()
    write_squad(tmp_path / "json" / "a.json", found)
    (tmp_path / "gz" / "a.json.gz").write_bytes(gzip.compress(json.dumps(squad(found)).encode()))
    write_jsonl(tmp_path / "jsonl" / "a.jsonl", found)
    with (tmp_path / "csv" / "a.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, found[0])
        writer.writeheader()
        writer.writerows({**row, "answers": json.dumps(row["answers"])} for row in found)
    pq.write_table(pa.Table.from_pylist(found), tmp_path / "parquet" / "a.parquet")
    columns = [
        {
            **row,
            "answers": {
                "text": [one["text"] for one in row["answers"]],
                "answer_start": [one["answer_start"] for one in row["answers"]],
            },
        }
        for row in found
    ]
    pq.write_table(pa.Table.from_pylist(columns), tmp_path / "hf" / "a.parquet")
    whole = read(tmp_path / "json")
    assert len(whole) == len(found)
    assert whole["fault"].isna().all()
    assert whole["label"].value_counts().to_dict() == {"answerable": 48, "unanswerable": 4}
    for name in ("gz", "jsonl", "csv", "parquet", "hf"):
        pd.testing.assert_frame_equal(read(tmp_path / name)[SAID], whole[SAID], check_categorical=False)


def test_answers_are_what_the_context_has(tmp_path: Path) -> None:
    write_squad(tmp_path / "a.json", rows(9, without=2))
    for said, context in read(tmp_path)[["answers", "context"]].itertuples(index=False):
        for one in json.loads(said):
            assert context[one["answer_start"] : one["answer_start"] + len(one["text"])] == one["text"]
        place = answers.place(said)
        assert place is None or context[slice(*place)] == answers.golds(said)[0]  # type: ignore[index]


def test_a_row_keeps_its_id_its_file_and_its_place(tmp_path: Path) -> None:
    write_squad(tmp_path / "a.json", rows(2))
    row = read(tmp_path).iloc[5]
    assert row[["row_id", "file", "line", "id", "place"]].tolist() == [
        "a.json:6", "a.json", 6, "q1-year", "data[0].paragraphs[1].qas[1]",
    ]  # fmt: skip


def test_squad_1_has_no_unanswerable_questions_and_a_test_set_no_answers(tmp_path: Path) -> None:
    write_squad(tmp_path / "a.json", rows(3), version="v1.1")
    document = squad(rows(3, start=5), version="v1.1")
    for article in document["data"]:
        for paragraph in article["paragraphs"]:
            for asked in paragraph["qas"]:
                del asked["answers"]
    (tmp_path / "b.json").write_text(json.dumps(document))
    found = read(tmp_path, b="incoming")
    assert found["label"].isna().tolist() == [False] * 12 + [True] * 12


def test_late_answers_join_by_row_id(tmp_path: Path) -> None:
    found = rows(2)
    write_jsonl(tmp_path / "b.jsonl", [{**row, "answers": None} for row in found])
    late = [{"row_id": f"b.jsonl:{line}", "answers": row["answers"]} for line, row in enumerate(found[:3], start=1)]
    late.append({"row_id": "b.jsonl:4", "answers": []})
    write_jsonl(tmp_path / "c.jsonl", late)
    joined = read(tmp_path, b="incoming", c="incoming")
    assert (
        joined["label"].tolist() == ["answerable"] * 3 + ["unanswerable"] + [None] * 4
        or joined["label"].isna().sum() == 4
    )
    assert answers.golds(joined["answers"][0]) == (found[0]["answers"][0]["text"],)
    write_jsonl(tmp_path / "c.jsonl", [{"row_id": "b.jsonl:99", "answers": []}])
    with pytest.raises(DataError, match=r"c.jsonl: has answers that cannot be joined:\n  line 1: no row has the id b"):
        read(tmp_path, b="incoming", c="incoming")


def test_all_questions_about_one_context_are_on_one_side(tmp_path: Path) -> None:
    write_squad(tmp_path / "a.json", rows(90, without=3))
    found = read(tmp_path)
    texts = CONTENTS.of(found)
    split = assign(found, texts, SplitParams(validation_percent=15.0, test_percent=25.0), seed=3)
    sides = split.groupby("context")["split"].nunique()
    assert (sides == 1).all()
    assert set(split["split"]) == {"train", "validation", "test"}
    verdict = check(split, found["split"], texts, CONTENTS.words, CONTENTS.shows)
    assert verdict.verdict == "pass"
    leaking = split.assign(split=["train", "test"] * (len(split) // 2))
    found_out = check(leaking, found["split"], texts, CONTENTS.words, CONTENTS.shows)
    assert found_out.verdict == "fail"
    assert "same context on two sides" in [one.check for one in found_out.findings]


def test_titles_may_be_groups(tmp_path: Path) -> None:
    write_squad(tmp_path / "a.json", rows(90))
    found = read(tmp_path, of_title("title"))
    assert found["group"].nunique() == 9
    split = assign(found, CONTENTS.of(found), SplitParams(validation_percent=25.0, test_percent=25.0), seed=5)
    assert (split.groupby("group", observed=True)["split"].nunique() == 1).all()
    with pytest.raises(DataError, match=r"SQuAD's JSON has no such column \(found 'author'\)"):
        read(tmp_path, of_title("author"))


def test_rows_survive_their_file(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    write_squad(tmp_path / "raw" / "a.json", rows(5, without=2))
    found = read(tmp_path / "raw")
    for name in ("one", "two"):
        write_rows(found, tmp_path / name, SCHEMA)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    pd.testing.assert_frame_equal(read_rows(tmp_path / "one", SCHEMA), found, check_categorical=False)


def test_what_is_taken_in_is_examined(tmp_path: Path) -> None:
    found = rows(3)
    found[0]["answers"][0]["answer_start"] += 2
    path = write_squad(tmp_path / "a.json", found)
    assert examine(path, "a.json", PARAMS).told == (
        "a.json: 1 questions: answer not at its place; validate says which",
    )
    write_jsonl(tmp_path / "b.jsonl", [{"question": "q", "context": "c"}])
    assert SOURCE.examine(tmp_path / "b.jsonl", "b.jsonl", PARAMS).told == (
        "b.jsonl: none of its 1 questions has an answer",
    )
