"""``finetide predict``: rows and columns come back in order with label and score beside them, or one error of ours and
the target as it was."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetide.errors import FinetideError
from finetide.predicting import predict_file
from finetide.runtime import Prediction
from properties.tables import File, files, mutant, quick, sound_files

Predict = Callable[[Path, Path], int]
BEFORE = b"what was there"
TARGETS = st.sampled_from(["out.csv", "out.tsv", "out.jsonl", "out.jsonl.gz", "out.parquet"])


class StandIn:
    """A predictor without a model, as strict with texts as a tokenizer: the table is what is tested."""

    labels = ("a", "b")

    def predict(self, texts: list[str]) -> list[Prediction]:
        sizes = [len(text.encode()) % 2 for text in texts]
        return [Prediction(self.labels[size], 0.75, {"a": 0.25, "b": 0.75}) for size in sizes]


def ours(source: Path, target: Path) -> int:
    return predict_file(StandIn(), source, target, text_column=None, scores=False)  # type: ignore[arg-type]


def read(name: str, data: bytes, delimiter: str = ",") -> tuple[list[str], list[list[Any]]]:
    """Columns and rows of a file, read without Finetide; what a text format cannot tell apart is made one."""
    if name.endswith(".parquet"):
        table = pq.read_table(io.BytesIO(data))
        return table.column_names, [[plain(cell) for cell in row.values()] for row in table.to_pylist()]
    data = gzip.decompress(data) if name.endswith(".gz") else data
    text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    if "jsonl" in name:
        lines = [line for line in text.replace("\r", "\n").split("\n") if line.strip()]
        rows = [json.loads(line) for line in lines]
        columns = list(dict.fromkeys(key for row in rows for key in row))
        return columns, [[plain(row.get(column)) for column in columns] for row in rows]
    found = [
        row for row in csv.reader(io.StringIO(text, newline=""), delimiter="\t" if "tsv" in name else delimiter) if row
    ]
    return found[0], found[1:]


def plain(cell: Any) -> str:
    return "" if cell is None else str(cell)


def refused(message: str, file: File) -> int:
    # A log takes it: no half character in it.
    message.encode()
    assert file.rows is None, f"a sound file was refused: {message}"
    return -1


def check_order_or_refusal(run: Predict, file: File, target: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        source, out = Path(scratch) / file.name, Path(scratch) / target
        source.write_bytes(file.data)
        out.write_bytes(BEFORE)
        try:
            count = run(source, out)
        except FinetideError as error:
            count = refused(str(error), file)
        except Exception as error:
            raise AssertionError(f"{type(error).__name__} is no error of ours: {error}") from error
        made = out.read_bytes()
    if count < 0:
        assert made == BEFORE
        return
    if file.rows is None:
        return
    columns, rows = read(file.name, file.data, file.delimiter)
    new_columns, new_rows = read(target, made)
    assert new_columns == [*columns, "label", "score"]
    assert count == len(new_rows) == len(rows)
    assert [row[:-2] for row in new_rows] == rows
    assert all(row[-2] and 0 < float(row[-1]) <= 1 for row in new_rows)


def test_any_file_gives_predictions_or_one_error_of_ours() -> None:
    quick(100)(given(files(), TARGETS)(lambda file, target: check_order_or_refusal(ours, file, target)))()


def test_rows_and_columns_come_back_in_order() -> None:
    quick(60)(given(sound_files(), TARGETS)(lambda file, target: check_order_or_refusal(ours, file, target)))()


def test_a_prediction_that_turns_rows_around_is_caught() -> None:
    def broken(source: Path, target: Path) -> int:
        count = ours(source, target)
        if target.name == "out.csv":
            head, *rows = csv.reader(io.StringIO(target.read_text(encoding="utf-8"), newline=""))
            with target.open("w", newline="", encoding="utf-8") as stream:
                csv.writer(stream).writerows([head, *reversed(rows)])
        return count

    with pytest.raises(AssertionError):
        mutant(60)(given(sound_files(), TARGETS)(lambda file, target: check_order_or_refusal(broken, file, target)))()


def test_a_target_that_is_touched_before_the_error_is_caught() -> None:
    def broken(source: Path, target: Path) -> int:
        target.write_bytes(b"")
        return ours(source, target)

    with pytest.raises(AssertionError):
        mutant(60)(given(files(), TARGETS)(lambda file, target: check_order_or_refusal(broken, file, target)))()
