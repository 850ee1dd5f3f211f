"""The formats: CSV, TSV, JSONL and Parquet files → columns of raw values, each row with the line where it starts."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from finetide.data.decode import decode, read_bytes
from finetide.data.problems import Problems
from finetide.errors import DataError

TEXT_SUFFIXES = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
PARQUET_SUFFIXES = (".parquet", ".pq")
OTHER_DELIMITERS = (";", "\t")


@dataclass(frozen=True)
class Records:
    """What a file holds. ``names``: every column found; ``values``: the wanted ones, as the format gives them;
    ``lines``: physical line (CSV, JSONL: CR, LF or CRLF ends one) or row (Parquet) where each record starts, from 1."""

    names: list[str]
    lines: list[int]
    values: dict[str, list[Any]]


def read_records(path: Path, *, name: str, wanted: Collection[str], encoding: str) -> Records:
    """Read the columns in ``wanted`` that the file has.

    Raises:
        DataError: the file is missing, damaged, empty, of an unknown format, or has records of a wrong shape
            (all of them in one error, the first 20 by line).
    """
    kind = _format(name)
    if kind == "parquet":
        records = _parquet(path, name, wanted)
    else:
        text = decode(read_bytes(path, name), name, encoding)
        if not text.strip():
            raise DataError("is empty", where=name, fix="put rows into it, or take it out: finetide exclude")
        records = _jsonl(text, name, wanted) if kind == "jsonl" else _csv(text, name, wanted, kind)
    if not records.lines:
        raise DataError(
            "has columns but no rows",
            where=name,
            found=", ".join(records.names),
            fix="put rows into it, or take it out: finetide exclude",
        )
    return records


def _format(name: str) -> str:
    path = PurePosixPath(name.lower())
    suffix = PurePosixPath(path.stem).suffix if path.suffix == ".gz" else path.suffix
    if suffix in TEXT_SUFFIXES:
        return TEXT_SUFFIXES[suffix]
    if path.suffix in PARQUET_SUFFIXES:
        return "parquet"
    known = ", ".join([*TEXT_SUFFIXES, *PARQUET_SUFFIXES])
    raise DataError("is of no known format", where=name, found=path.suffix, fix=f"known: {known}; text ones also .gz")


def _csv(text: str, name: str, wanted: Collection[str], kind: str) -> Records:
    # Fields longer than 128 kB are texts like any other; the limit is the module's, so it is put back.
    limit = csv.field_size_limit(sys.maxsize)
    try:
        delimiter = "\t" if kind == "tsv" else _delimiter(text)
        header, rows, lines = _csv_rows(text, name, delimiter)
    finally:
        csv.field_size_limit(limit)
    doubled = sorted({column for column in header if column and header.count(column) > 1})
    if doubled:
        raise DataError("has columns of the same name", where=name, found=", ".join(doubled), fix="rename one of them")
    chosen = {column: header.index(column) for column in wanted if column in header}
    return Records(header, lines, {column: [row[at] for row in rows] for column, at in chosen.items()})


def _csv_rows(text: str, name: str, delimiter: str) -> tuple[list[str], list[list[str]], list[int]]:
    """Header, rows and their lines. A row starts on the line after the one where the row before it ended."""
    problems = Problems(name, "has rows of a wrong shape", fix="correct these lines, or take them out")
    # newline="" leaves line ends alone: the csv module must see those inside quotes.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    rows: list[list[str]] = []
    lines: list[int] = []
    width = ended = 0
    while True:
        starts = ended + 1
        try:
            row = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            problems.add(starts, _quoting(str(error), delimiter))
            ended = reader.line_num
            continue
        ended = reader.line_num
        if not row:
            continue
        if not width:
            header, width = row, len(row)
        elif len(row) != width:
            problems.add(starts, f"{len(row)} fields, the header has {width}")
        else:
            rows.append(row)
            lines.append(starts)
    problems.raise_if_any()
    return header, rows, lines


def _quoting(message: str, delimiter: str) -> str:
    if message == "unexpected end of data":
        return "a quote that opens in this row is never closed"
    if "expected after" in message:
        return f"a closing quote is followed by neither {delimiter!r} nor the end of the line; write a quote as two"
    return message


def _delimiter(text: str) -> str:
    """A comma, unless it gives a single column and a semicolon or a tab gives more."""

    def columns(delimiter: str) -> int:
        try:
            return len(next((row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row), []))
        except csv.Error:
            return 0

    if columns(",") > 1:
        return ","
    best = max(OTHER_DELIMITERS, key=columns)
    return best if columns(best) > 1 else ","


def _jsonl(text: str, name: str, wanted: Collection[str]) -> Records:
    problems = Problems(name, "has lines that are no JSON object", fix="correct these lines, or take them out")
    decoder = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse_constant)
    names: dict[str, None] = {}
    found: list[dict[str, Any]] = []
    lines: list[int] = []
    for line, content in enumerate(io.StringIO(text, newline=""), start=1):
        if not content.strip():
            continue
        try:
            value = decoder.decode(content)
        except (ValueError, RecursionError) as error:
            problems.add(line, str(error))
            continue
        if not isinstance(value, dict):
            problems.add(line, f"is a JSON {_kind(value)}")
            continue
        names.update(dict.fromkeys(value))
        found.append(value)
        lines.append(line)
    problems.raise_if_any()
    present = [column for column in wanted if column in names]
    return Records(list(names), lines, {column: [row.get(column) for row in found] for column in present})


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"has the key {next(key for key in keys if keys.count(key) > 1)!r} twice")
    return made


def _refuse_constant(word: str) -> Any:
    raise ValueError(f"{word} is not JSON; write null")


def _kind(value: object) -> str:
    if isinstance(value, list):
        return "array"
    if isinstance(value, str):
        return "string"
    return "null" if value is None else "boolean" if isinstance(value, bool) else "number"


def _parquet(path: Path, name: str, wanted: Collection[str]) -> Records:
    try:
        with pq.ParquetFile(path) as file:
            names = list(file.schema_arrow.names)
            doubled = sorted({column for column in names if names.count(column) > 1})
            if not doubled:
                table = file.read(columns=[column for column in wanted if column in names])
                rows = int(file.metadata.num_rows)
    except FileNotFoundError as error:
        raise DataError("cannot be read: No such file or directory", where=name) from error
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"is a damaged or truncated Parquet file: {error}", where=name, fix="copy or download the file again"
        ) from error
    if doubled:
        raise DataError("has columns of the same name", where=name, found=", ".join(doubled), fix="rename one of them")
    values = {column: table.column(column).to_pylist() for column in table.column_names}
    return Records(names, list(range(1, rows + 1)), values)
