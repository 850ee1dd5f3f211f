"""Ingest: canonical rows or one error of ours, whatever the file; and each row id leads back to its record."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given

from finetide.config.ingest import ColumnParams, IngestParams
from finetide.contracts.rows import SPLITS, Role
from finetide.contracts.window import Window, WindowFile
from finetide.data.ingest import ingest
from finetide.data.table import SCHEMA, read_rows, write_rows
from finetide.errors import FinetideError
from finetide.files import sha256_bytes
from properties.tables import File, files, mutant, quick, sound_files

Ingest = Callable[[Path, File], pd.DataFrame]


def taken_in(folder: Path, file: File, split: str | None = "split", role: Role = "incoming") -> pd.DataFrame:
    """The rows after ingest and Parquet, as the next stage has them."""
    (folder / file.name).write_bytes(file.data)
    pinned = WindowFile(path=file.name, sha256=sha256_bytes(file.data), role=role)
    window = Window(model="mail", start="base", champion=None, files=(pinned,))
    columns = ColumnParams(text="text", label="intent", split=split, group="group" if split else None)
    rows = ingest(window, folder, IngestParams(columns=columns, encoding="auto")).rows
    write_rows(rows, folder / "rows.parquet")
    return read_rows(folder / "rows.parquet")


def check_rows_or_refusal(run: Ingest, file: File) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        try:
            rows = run(Path(scratch), file)
        except FinetideError as error:
            # A log takes it: no half character in it.
            str(error).encode()
            return
        except Exception as error:
            raise AssertionError(f"{type(error).__name__} is no error of ours: {error}") from error
    assert list(rows.columns) == SCHEMA.names
    assert rows["line"].is_monotonic_increasing
    assert rows["line"].is_unique
    assert list(rows["row_id"]) == [f"{file.name}:{line}" for line in rows["line"]]
    assert all(isinstance(text, str) for text in rows["text"])
    assert all(pd.isna(label) or label.strip() for label in rows["label"])
    assert rows["split"].dropna().isin(SPLITS).all()


@quick(150)
@given(files())
def test_any_file_gives_canonical_rows_or_one_error_of_ours(file: File) -> None:
    check_rows_or_refusal(taken_in, file)


def test_an_ingest_that_lets_an_exception_through_is_caught() -> None:
    def broken(folder: Path, file: File) -> pd.DataFrame:
        if file.name.endswith(".csv"):
            file.data.decode("ascii")
        return taken_in(folder, file)

    with pytest.raises(AssertionError, match="UnicodeDecodeError is no error of ours"):
        mutant(250)(given(files())(lambda file: check_rows_or_refusal(broken, file)))()


def record_at(file: File, line: int) -> dict[str, Any]:
    """What the file itself has at a line, read without Finetide."""
    if file.name.endswith(".parquet"):
        return dict(pq.read_table(io.BytesIO(file.data)).slice(line - 1, 1).to_pylist()[0])
    data = gzip.decompress(file.data) if file.name.endswith(".gz") else file.data
    text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    starts = [0, *(end.end() for end in re.finditer(r"\r\n|\r|\n", text))]
    rest = text[starts[line - 1] :]
    if "jsonl" in file.name:
        return dict(json.loads(re.split(r"\r|\n", rest)[0]))
    names = next(csv.reader(io.StringIO(text, newline=""), delimiter=file.delimiter))
    return dict(zip(names, next(csv.reader(io.StringIO(rest, newline=""), delimiter=file.delimiter)), strict=True))


def check_round_trip(run: Ingest, file: File) -> None:
    assert file.rows is not None
    with tempfile.TemporaryDirectory() as scratch:
        rows = run(Path(scratch), file)
    assert len(rows) == len(file.rows)
    for row, (text, label) in zip(rows.itertuples(), file.rows, strict=True):
        name, _, line = str(row.row_id).rpartition(":")
        found = record_at(file, int(line))
        assert name == file.name
        assert row.text == found["text"] == text
        assert found["intent"] == label
        assert row.label == label if label.strip() else pd.isna(row.label)


@quick(120)
@given(sound_files())
def test_a_row_id_leads_to_the_line_that_has_its_text_and_label(file: File) -> None:
    check_round_trip(lambda folder, file: taken_in(folder, file, split=None), file)


@pytest.mark.parametrize("column", ["line", "text"])
def test_an_ingest_that_loses_the_line_or_a_character_is_caught(column: str) -> None:
    def broken(folder: Path, file: File) -> pd.DataFrame:
        rows = taken_in(folder, file, split=None)
        if column == "text":
            return rows.assign(text=rows["text"].str.strip())
        # The number of the record and not its line: wrong as soon as a text has a line break.
        return rows.assign(row_id=[f"{file.name}:{at + 2}" for at in range(len(rows))])

    with pytest.raises((AssertionError, IndexError)):
        mutant(200)(given(sound_files())(lambda file: check_round_trip(broken, file)))()
