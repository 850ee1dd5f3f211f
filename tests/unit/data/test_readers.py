from __future__ import annotations

import datetime
import decimal
import gzip
import json
from pathlib import Path

import pandas as pd
import pytest

from finetide.config.ingest import ColumnParams
from finetide.contracts.rows import Role
from finetide.data.readers import as_string, read_table
from finetide.data.table import COLUMNS
from finetide.errors import DataError

PLAIN = ColumnParams(text="text", label="label", split=None, group=None)
FULL = ColumnParams(text="body", label="intent", split="side", group="user")


def read(path: Path, columns: ColumnParams = PLAIN, role: Role = "reference") -> pd.DataFrame:
    return read_table(path, name=path.name, columns=columns, encoding="auto", role=role)


def written(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


def refusal(path: Path, columns: ColumnParams = PLAIN, role: Role = "reference") -> str:
    with pytest.raises(DataError) as caught:
        read(path, columns, role)
    return str(caught.value)


def test_a_row_has_the_canonical_columns_and_nothing_else(tmp_path: Path) -> None:
    path = written(tmp_path / "mail.csv", "id,user,side,intent,body\n7,u1,TRAIN,refund,where is it\n")
    rows = read(path, FULL)
    assert list(rows.columns) == list(COLUMNS)
    assert rows.loc[0].to_dict() == {
        "row_id": "mail.csv:2",
        "role": "reference",
        "file": "mail.csv",
        "line": 2,
        "label": "refund",
        "split": "train",
        "group": "u1",
        "text": "where is it",
    }


def test_all_formats_give_the_same_rows(tmp_path: Path) -> None:
    data = [{"text": "eins", "label": 3}, {"text": "zwei\nzeilen", "label": 4}]
    written(tmp_path / "a.jsonl", "".join(json.dumps(entry) + "\n" for entry in data))
    written(tmp_path / "a.csv", 'text,label\neins,3\n"zwei\nzeilen",4\n')
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress((tmp_path / "a.jsonl").read_bytes()))
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress((tmp_path / "a.csv").read_bytes()))
    pd.DataFrame(data).to_parquet(tmp_path / "a.parquet")
    pd.DataFrame({"text": ["eins", "zwei\nzeilen"], "label": [3.0, 4.0]}).to_parquet(tmp_path / "b.parquet")
    for path in sorted(tmp_path.iterdir()):
        rows = read(path)
        assert rows["text"].tolist() == ["eins", "zwei\nzeilen"], path.name
        assert rows["label"].tolist() == ["3", "4"], path.name


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, "3"),
        (3.0, "3"),
        (3.5, "3.5"),
        (True, "true"),
        (False, "false"),
        (None, None),
        (float("nan"), None),
        (float("inf"), "inf"),
        (decimal.Decimal("2.00"), "2"),
        (decimal.Decimal("2.5"), "2.5"),
        (datetime.date(2024, 2, 3), "2024-02-03"),
        (" x ", " x "),
    ],
)
def test_scalars_become_strings(value: object, expected: str | None) -> None:
    assert as_string(value) == expected


@pytest.mark.parametrize("value", ["[1]", '{"a": 1}'])
def test_values_that_are_no_scalars_are_refused_by_line(tmp_path: Path, value: str) -> None:
    path = written(tmp_path / "a.jsonl", f'{{"text": "a", "label": "x"}}\n{{"text": {value}, "label": "x"}}\n')
    message = refusal(path)
    assert "a.jsonl: has values in column 'text' that are no text:" in message
    assert "line 2: " in message


def test_bytes_in_parquet_are_no_text(tmp_path: Path) -> None:
    pd.DataFrame({"text": [b"raw"], "label": ["x"]}).to_parquet(tmp_path / "a.parquet")
    assert "line 1: bytes b'raw'" in refusal(tmp_path / "a.parquet")


def test_empty_labels_splits_and_groups_are_missing_and_a_null_text_is_empty(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", '{"body": null, "intent": "", "side": " ", "user": null}\n')
    row = read(path, FULL).loc[0]
    assert row["text"] == ""
    assert row[["label", "split", "group"]].isna().all()


@pytest.mark.parametrize(
    ("word", "split"),
    [("train", "train"), ("Training", "train"), ("VAL", "validation"), ("dev ", "validation"), ("Test", "test")],
)
def test_split_words_are_understood(tmp_path: Path, word: str, split: str) -> None:
    path = written(tmp_path / "a.csv", f"body,intent,side,user\na,b,{word},u\n")
    assert read(path, FULL)["split"].tolist() == [split]


def test_other_split_words_are_refused_by_line(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "body,intent,side,user\na,b,train,u\na,b,holdout,u\n")
    message = refusal(path, FULL)
    assert "a.csv: has values in column 'side' that name no split:\n  line 3: holdout" in message
    assert "write train, validation (val, dev) or test" in message


def test_missing_columns_are_named_with_those_found_and_the_nearest(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "Text,labels,n\na,b,1\n")
    message = refusal(path)
    assert (
        "a.csv: has no column 'text' (text), did you mean 'Text'?; 'label' (label), did you mean 'labels'?" in message
    )
    assert "(found 'Text, labels, n')" in message
    assert "name the right one in params.yaml, ingest.columns" in message


def test_incoming_files_may_lack_labels_splits_and_groups(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "body\nhello\n")
    assert read(path, FULL, "incoming")[["label", "split", "group"]].isna().all(axis=None)
    assert "has no column 'intent' (label); 'side' (split); 'user' (group)" in refusal(path, FULL)


def test_a_misspelled_label_column_does_not_pass_for_unlabelled_rows(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "text,Label\nhello,x\n")
    assert "did you mean 'Label'?" in refusal(path, role="incoming")


def test_a_column_that_is_used_already_is_not_proposed(tmp_path: Path) -> None:
    columns = ColumnParams(text="text", label="text2", split=None, group=None)
    path = written(tmp_path / "a.csv", "text\nhello\n")
    assert read(path, columns, "incoming")["label"].isna().all()


def test_a_file_of_late_labels_is_no_table_of_rows(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "row_id,label\nb.csv:2,x\n")
    assert "has no column 'text'" in refusal(path, role="incoming")
