"""One file of the user → rows in the canonical shape (contracts.rows), or a refusal that names every bad line."""

from __future__ import annotations

import datetime
import decimal
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from finetide.config.ingest import ColumnParams
from finetide.contracts.rows import Role, Split
from finetide.data.problems import Problems
from finetide.data.records import Column, Records, read_records
from finetide.data.table import frame
from finetide.data.text import nearest, shown
from finetide.errors import DataError

ROW_ID = "row_id"
# What `finetide label-requests` calls the column with the champion's own labels, which marks its tables.
SUGGESTED = "suggested_label"
# JSON can spell half a character; no file, and no tokenizer, takes it.
HALF_CHARACTER = re.compile("[\ud800-\udfff]")
# A long book. Beyond it something else is wrong (a quote, a delimiter), and 5-grams of such a text fill the memory.
MAX_CHARACTERS = 1_000_000
SPLIT_WORDS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}


def read_table(path: Path, *, name: str, columns: ColumnParams, encoding: str, role: Role) -> pd.DataFrame:
    """Read one file of rows.

    Args:
        name: how the file is called in row ids and messages, POSIX; its ending says the format.
        encoding: a value of ingest.encoding.

    Returns:
        Rows with the columns of ``data.table.SCHEMA``, in the order of the file; other columns are dropped. A text
        that is null is the empty string, an empty label, split or group is missing.

    Raises:
        DataError: anything about the file that cannot be read without guessing.
    """
    return rows_of(load(path, name=name, columns=columns, encoding=encoding), name=name, columns=columns, role=role)


def load(path: Path, *, name: str, columns: ColumnParams, encoding: str) -> Records:
    """The columns of a file that ingest can use, those of a file of late labels included."""
    return read_records(path, name=name, wanted=_wanted(columns), encoding=encoding)


def brings_labels(records: Records, columns: ColumnParams) -> bool:
    """Is this a file of labels for rows that came without: row ids and labels, and no text, or a filled-in request?"""
    if not {ROW_ID, columns.label} <= set(records.names):
        return False
    return columns.text not in records.names or is_request(records)


def is_request(records: Records) -> bool:
    """Is this what `finetide label-requests` wrote? Then it shows texts, and a row that nobody labelled is no fault."""
    return {ROW_ID, SUGGESTED} <= set(records.names)


def rows_of(records: Records, *, name: str, columns: ColumnParams, role: Role) -> pd.DataFrame:
    """Raises: DataError for missing columns, or values that are no text, label, split or group, by line."""
    if is_request(records):  # with its labels it would not come here: its rows are known, and would be there twice
        raise DataError(
            f"is a label request without the column {columns.label!r}",
            where=name,
            found=", ".join(records.names),
            fix=f"fill in the column {columns.label!r} that finetide label-requests wrote",
        )
    _require_columns(records, name, columns, role)
    texts = as_strings(records, name, columns.text)
    refuse_endless(texts, records.lines, name)
    splits = as_strings(records, name, columns.split)
    count = len(records.lines)
    return frame(
        {
            "row_id": _row_ids(name, records.lines),
            "role": pa.repeat(role, count),
            "file": pa.repeat(name, count),
            "line": records.lines,
            "label": without_empty(as_strings(records, name, columns.label)),
            "split": split_words(as_list(without_empty(splits)), records.lines, name, columns.split),
            "group": without_empty(as_strings(records, name, columns.group)),
            "text": pc.fill_null(texts, "") if isinstance(texts, pa.ChunkedArray) else [text or "" for text in texts],
        }
    )


def _row_ids(name: str, lines: Sequence[int]) -> pa.Array:
    return pc.binary_join_element_wise(name, pa.array(lines, pa.int64()).cast(pa.string()), ":")


def as_strings(records: Records, name: str, column: str | None) -> Column:
    """A column as strings; all missing when the file does not have it.

    Raises: DataError for values that are lists, objects or bytes, or hold half a character, by line.
    """
    if column is None or column not in records.values:
        return pa.chunked_array([pa.nulls(len(records.lines), pa.string())])
    values = records.values[column]
    if isinstance(values, pa.ChunkedArray):
        return values
    problems = Problems(name, f"has values in column {column!r} that are no text", fix="give one value a row")
    strings: list[str | None] = []
    value: Any
    for line, value in zip(records.lines, values, strict=True):
        try:
            string = value if type(value) is str else as_string(value)
        except TypeError:
            problems.add(line, f"{type(value).__name__} {shown(value)}")
            continue
        if string is not None and not string.isascii() and HALF_CHARACTER.search(string):
            problems.add(line, f"half a character (a lone surrogate) in {shown(string)!a}")
        strings.append(string)
    problems.raise_if_any()
    return strings


def as_string(value: Any) -> str | None:
    """3 and 3.0 are both ``"3"``, so that a label is the same word in CSV, JSONL and Parquet; NaN is missing.

    Raises: TypeError when the value is no scalar.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, datetime.date)):
        return str(value)
    if isinstance(value, (float, decimal.Decimal)):
        if value != value:
            return None
        return str(int(value)) if math.isfinite(value) and value == int(value) else str(value)
    raise TypeError(type(value).__name__)


def without_empty(values: Column) -> Column:
    if isinstance(values, pa.ChunkedArray):
        # Labels, splits and groups repeat: look at each word once.
        coded = values.combine_chunks().dictionary_encode()
        words = pa.array(without_empty(coded.dictionary.to_pylist()), pa.string())
        return pa.chunked_array([words.take(coded.indices)])
    return [value if value and not value.isspace() else None for value in values]


def as_list(values: Column) -> list[str | None]:
    listed: list[str | None] = values.to_pylist() if isinstance(values, pa.ChunkedArray) else values
    return listed


def refuse_endless(texts: Column, lines: Sequence[int], name: str) -> None:
    problems = Problems(
        name, f"has texts of more than {MAX_CHARACTERS:,} characters", fix="cut these texts, or take the rows out"
    )
    if isinstance(texts, pa.ChunkedArray) and (pc.max(pc.utf8_length(texts)).as_py() or 0) <= MAX_CHARACTERS:
        return
    for line, text in zip(lines, as_list(texts), strict=True):
        if text is not None and len(text) > MAX_CHARACTERS:
            problems.add(line, f"{len(text):,} characters: {shown(text[:100])}")
    problems.raise_if_any()


def _wanted(columns: ColumnParams) -> list[str]:
    named = (ROW_ID, SUGGESTED, columns.text, columns.label, columns.split, columns.group)
    return list(dict.fromkeys(column for column in named if column is not None))


def _require_columns(records: Records, name: str, columns: ColumnParams, role: Role) -> None:
    """The text always; the others in reference files. An incoming file may lack them, unless it has a name so near
    that its owner surely meant it: a misspelled label column must not pass for unlabelled rows."""
    wanted = {"text": columns.text, "label": columns.label, "split": columns.split, "group": columns.group}
    taken = {column for column in wanted.values() if column}
    others = [found for found in records.names if found not in taken]
    missing: list[str] = []
    for key, column in wanted.items():
        if column is None or column in records.names:
            continue
        near = nearest(column, others)
        if role == "incoming" and key != "text" and near is None:
            continue
        missing.append(f"{column!r} ({key})" + (f", did you mean {near!r}?" if near else ""))
    if missing:
        raise DataError(
            f"has no column {'; '.join(missing)}",
            where=name,
            found=", ".join(records.names),
            fix="rename it in the file; or name the right one in params.yaml, ingest.columns "
            "(init: --text, --label, --split-col, --group-col)",
        )


def split_words(
    values: Sequence[str | None], lines: Sequence[int], name: str, column: str | None
) -> list[Split | None]:
    problems = Problems(
        name, f"has values in column {column!r} that name no split", fix="write train, validation (val, dev) or test"
    )
    splits: list[Split | None] = []
    for line, value in zip(lines, values, strict=True):
        split = SPLIT_WORDS.get(value.strip().casefold()) if value is not None else None
        if value is not None and split is None:
            problems.add(line, shown(value))
        splits.append(split)
    problems.raise_if_any()
    return splits
