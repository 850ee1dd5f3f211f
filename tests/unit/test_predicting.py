from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pandas as pd
import pytest

from finetide.errors import DataError, InputError
from finetide.predicting import columns_of, predict_file, predict_questions
from finetide.runtime import Predictor, load
from support.bundles import bundle, micro_model


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    folder = tmp_path_factory.mktemp("p")
    return load(bundle(folder / "bundle", micro_model(folder / "base")))


CSV = 'id,text\n007,"refund, please\nnow"\n008,login\n'


def test_csv_rows_come_back_as_they_were_with_label_and_score(predictor: Predictor, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(CSV)
    assert predict_file(predictor, tmp_path / "in.csv", tmp_path / "out.csv", text_column=None, scores=False) == 2
    found = pd.read_csv(tmp_path / "out.csv", dtype=str)
    assert list(found.columns) == ["id", "text", "label", "score"]
    assert found["id"].tolist() == ["007", "008"]
    assert found["text"][0] == "refund, please\nnow"
    expected = predictor.predict(found["text"].tolist())
    assert found["label"].tolist() == [one.label for one in expected]
    assert found["score"].astype(float).tolist() == pytest.approx([one.score for one in expected])


def test_a_prefix_keeps_a_labelled_file_apart_from_what_is_predicted(predictor: Predictor, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("text,label\nwhere is it,money\n")
    predict_file(
        predictor, tmp_path / "in.csv", tmp_path / "out.csv", text_column=None, scores=True, prefix="predicted_"
    )
    found = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    assert list(found[0])[:4] == ["text", "label", "predicted_label", "predicted_score"]
    assert found[0]["label"] == "money"
    best = max(predictor.labels, key=lambda label: float(found[0][f"predicted_{label}"]))
    assert found[0]["predicted_label"] == best


def test_empty_texts_are_counted(predictor: Predictor, tmp_path: Path) -> None:
    said: list[str] = []
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text('id,body\n1,hello\n2,\n3,"  \t"\n')
    predict_file(predictor, source, target, text_column="body", scores=False, warn=said.append)
    assert said == ["2 of 3 texts in column 'body' are empty; the labels of these rows mean nothing"]
    source.write_text("body\nhello\n")
    predict_file(predictor, source, target, text_column="body", scores=False, warn=said.append)
    assert len(said) == 1


@pytest.mark.parametrize("source", ["in.csv", "in.csv.gz", "in.tsv", "in.jsonl", "in.parquet"])
@pytest.mark.parametrize("target", ["out.csv", "out.jsonl.gz", "out.parquet"])
def test_every_format_goes_in_and_out(predictor: Predictor, tmp_path: Path, source: str, target: str) -> None:
    rows = [{"id": "1", "text": "where is my parcel"}, {"id": "2", "text": "é"}]
    path = tmp_path / source
    if source.endswith(".parquet"):
        pd.DataFrame(rows).to_parquet(path)
    elif source.endswith(".jsonl"):
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        sign = "\t" if "tsv" in source else ","
        data = "".join(
            sign.join(line) + "\n" for line in [["id", "text"], *[list(row.values()) for row in rows]]
        ).encode()
        path.write_bytes(gzip.compress(data) if source.endswith(".gz") else data)
    assert predict_file(predictor, path, tmp_path / target, text_column=None, scores=True) == 2
    out = tmp_path / target
    if target.endswith(".parquet"):
        found = pd.read_parquet(out)
    elif target.endswith(".gz"):
        found = pd.read_json(out, lines=True)
    else:
        found = pd.read_csv(out)
    assert list(found.columns) == ["id", "text", "label", "score", *predictor.labels]
    assert found[list(predictor.labels)].sum(axis=1).tolist() == pytest.approx([1.0, 1.0])


def test_a_header_alone_gives_a_header(predictor: Predictor, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("text,x\n")
    assert predict_file(predictor, tmp_path / "in.csv", tmp_path / "out.csv", text_column=None, scores=False) == 0
    assert (tmp_path / "out.csv").read_text() == "text,x,label,score\n"


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("in.csv", "body\nx\n", InputError, r"has no such column \(found 'text'\)\n  fix: --text with one of: body"),
        ("in.csv", "id, Text\n1,x\n", InputError, r"--text with one of: id,  Text; did you mean ' Text'\?"),
        ("in.csv", "text,label\nx,y\n", InputError, "has a column 'label' already"),
        ("in.csv", "text,a\nx\n", DataError, r"line 2: has 1 fields, the header has 2"),
        ("in.csv", 'text\n"x\n', DataError, "is not CSV"),
        ("in.csv", "", DataError, "is empty"),
        ("in.jsonl", "{\n", DataError, "line 1: is not JSON"),
        ("in.jsonl", "[1]\n", DataError, "is not a JSON object"),
        ("in.parquet", "no parquet", DataError, "is not readable as Parquet"),
        ("in.csv.gz", "no gzip", DataError, "is a broken gzip file"),
        ("in.xlsx", "x", InputError, "is of an unknown format"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(
    predictor: Predictor, tmp_path: Path, name: str, content: str, error: type[Exception], message: str
) -> None:
    (tmp_path / name).write_text(content)
    target = tmp_path / "out.csv"
    target.write_text("as it was")
    with pytest.raises(error, match=message):
        predict_file(predictor, tmp_path / name, target, text_column=None, scores=False)
    assert target.read_text() == "as it was"


def test_a_missing_file_and_undecodable_bytes(predictor: Predictor, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        columns_of(tmp_path / "none.csv")
    (tmp_path / "in.csv").write_bytes(b"text\n\xff\xff\n")
    with pytest.raises(DataError, match="is not UTF-8"):
        columns_of(tmp_path / "in.csv")


def test_a_list_becomes_json_in_a_csv_as_ingest_reads_it(predictor: Predictor, tmp_path: Path) -> None:
    answers = [{"text": "Łódź", "answer_start": 10}]
    line = json.dumps({"text": "a parcel", "answers": answers, "more": {"a": None}}, ensure_ascii=False)
    (tmp_path / "in.jsonl").write_text(line + "\n", encoding="utf-8")
    predict_file(predictor, tmp_path / "in.jsonl", tmp_path / "out.csv", text_column=None, scores=False)
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as stream:
        [row] = csv.DictReader(stream)
    assert json.loads(row["answers"]) == answers
    assert json.loads(row["more"]) == {"a": None}
    assert "Łódź" in row["answers"]


def test_a_column_of_questions_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("q,c\nwho,me\n")
    none: Predictor = None  # type: ignore[assignment]
    with pytest.raises(InputError) as caught:
        predict_questions(none, tmp_path / "in.csv", tmp_path / "out.csv")
    assert f"{tmp_path / 'in.csv'}: has no column 'question'" in str(caught.value)
    assert caught.value.fix == "name them: --question and --context, of: q, c"
    (tmp_path / "in.csv").write_text("question\nwho\n")
    with pytest.raises(InputError, match="has no column 'context'") as caught:
        predict_questions(none, tmp_path / "in.csv", tmp_path / "out.csv")
    assert caught.value.fix == "a file of questions has two columns at least, the question and its context"
    assert not (tmp_path / "out.csv").exists()
