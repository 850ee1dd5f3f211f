"""The formats: CSV, TSV, JSONL and Parquet files → columns of raw values, each row with the line where it starts."""

from __future__ import annotations

import csv
import io
import json
import sys
from array import array
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from finetide.data.decode import decode, read_bytes
from finetide.data.problems import Problems
from finetide.data.progress import bar
from finetide.errors import DataError

TEXT_SUFFIXES = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
PARQUET_SUFFIXES = (".parquet", ".pq")
OTHER_DELIMITERS = (";", "\t")
# A Python string takes 50 bytes beside its characters: a few rows at a time become Arrow strings.
BATCH_ROWS = 4096
PIECE_CHARACTERS = 1 << 20
Column: TypeAlias = "list[Any] | pa.ChunkedArray"


@dataclass(frozen=True)
class Records:
    """What a file holds. ``names``: every column found; ``values``: the wanted ones, as Arrow strings where all
    values are, else as the format gives them;
    ``lines``: physical line (CSV, JSONL: CR, LF or CRLF ends one) or row (Parquet) where each record starts, from 1."""

    names: list[str]
    lines: Sequence[int]
    values: dict[str, Column]


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
            raise DataError("is empty", where=name, fix="put rows into it, or leave it out")
        records = _jsonl(text, name, wanted) if kind == "jsonl" else _csv(text, name, wanted, kind)
    if not records.lines:
        raise DataError(
            "has columns but no rows",
            where=name,
            found=", ".join(records.names),
            fix="put rows into it, or leave it out",
        )
    return records


def _format(name: str) -> str:
    path = PurePosixPath(name.lower())
    suffix = PurePosixPath(path.stem).suffix if path.suffix == ".gz" else path.suffix
    if suffix in TEXT_SUFFIXES:
        return TEXT_SUFFIXES[suffix]
    if path.suffix in PARQUET_SUFFIXES:
        return "parquet"
    text, parquet = ", ".join(TEXT_SUFFIXES), ", ".join(PARQUET_SUFFIXES)
    raise DataError(
        f"is not a kind of file that Finetide reads ({text}, each also .gz; {parquet})",
        where=name,
        found=suffix + path.suffix if path.suffix == ".gz" else path.suffix,
        fix="convert it, e.g. to CSV in UTF-8",
    )


def _csv(text: str, name: str, wanted: Collection[str], kind: str) -> Records:
    # Fields longer than 128 kB are texts like any other; the limit is the module's, so it is put back.
    limit = csv.field_size_limit(sys.maxsize)
    try:
        delimiter = "\t" if kind == "tsv" else delimiter_of(text, name)
        header, lines, values = _csv_columns(text, name, delimiter, wanted)
    finally:
        csv.field_size_limit(limit)
    doubled = sorted({column for column in header if column and header.count(column) > 1})
    if doubled:
        raise DataError("has columns of the same name", where=name, found=", ".join(doubled), fix="rename one of them")
    return Records(header, lines, values)


def _csv_columns(
    text: str, name: str, delimiter: str, wanted: Collection[str]
) -> tuple[list[str], Sequence[int], dict[str, Column]]:
    """Header, lines of the rows and wanted columns. A row starts on the line after that where the one before ended."""
    problems = Problems(name, "has rows of a wrong shape", fix="correct these lines, or take them out")
    reader = csv.reader(_physical_lines(text, name), delimiter=delimiter, strict=True)
    header: list[str] = []
    rows: list[list[str]] = []
    parts: dict[str, list[pa.Array]] = {}
    lines = array("q")
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
            parts = {column: [] for column in wanted if column in header}
        elif len(row) != width:
            problems.add(starts, f"{len(row)} fields, the header has {width}")
        else:
            rows.append(row)
            lines.append(starts)
            if len(rows) == BATCH_ROWS:
                _move(rows, header, parts)
    problems.raise_if_any()
    _move(rows, header, parts)
    return header, lines, {column: pa.chunked_array(arrays, pa.string()) for column, arrays in parts.items()}


def _move(rows: list[list[str]], header: list[str], parts: dict[str, list[pa.Array]]) -> None:
    """Append the cells of ``rows`` to their columns, and empty ``rows``."""
    for column, arrays in parts.items():
        at = header.index(column)
        made = pa.array([row[at] for row in rows], pa.string())
        # More than 2 GiB in one batch come back in several arrays.
        arrays.extend(made.chunks if isinstance(made, pa.ChunkedArray) else [made])
    rows.clear()


def _physical_lines(text: str, name: str) -> Iterator[str]:
    """The lines with their ends as they are: the csv module must see those inside quotes. A StringIO of the whole
    text would take four bytes a character."""
    start = 0
    with bar(f"reading {name}", len(text), "B") as progress:
        while start < len(text):
            end = text.find("\n", start + PIECE_CHARACTERS) + 1 or len(text)
            yield from io.StringIO(text[start:end], newline="")
            progress.update(end - start)
            start = end


def _quoting(message: str, delimiter: str) -> str:
    if message == "unexpected end of data":
        return "a quote that opens in this row is never closed"
    if "expected after" in message:
        return f"a closing quote is followed by neither {delimiter!r} nor the end of the line; write a quote as two"
    return message


def delimiter_of(text: str, name: str) -> str:
    """A comma, unless it gives a single column and a semicolon or a tab gives more."""

    def columns(delimiter: str) -> int:
        try:
            return len(next((row for row in csv.reader(_physical_lines(text, name), delimiter=delimiter) if row), []))
        except csv.Error:
            return 0

    if columns(",") > 1:
        return ","
    best = max(OTHER_DELIMITERS, key=columns)
    return best if columns(best) > 1 else ","


def _jsonl(text: str, name: str, wanted: Collection[str]) -> Records:
    if text.lstrip().startswith("["):
        _refuse_array(text, name)
    problems = Problems(name, "has lines that are no JSON object", fix="correct these lines, or take them out")
    decoder = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse_constant)
    names: dict[str, None] = {}
    found: dict[str, list[Any]] = {column: [] for column in wanted}
    lines = array("q")
    for line, content in enumerate(_physical_lines(text, name), start=1):
        if not content.strip():
            continue
        try:
            value = decoder.decode(content.rstrip("\r\n"))
        except json.JSONDecodeError as error:  # its own "line 1" would contradict ours
            problems.add(line, f"{error.msg}, column {error.colno}")
            continue
        except (ValueError, RecursionError) as error:
            problems.add(line, str(error))
            continue
        if not isinstance(value, dict):
            problems.add(line, f"is a JSON {_kind(value)}")
            continue
        names.update(dict.fromkeys(value))
        for column, cells in found.items():
            cells.append(value.get(column))
        lines.append(line)
    problems.raise_if_any()
    return Records(list(names), lines, {column: cells for column, cells in found.items() if column in names})


def _refuse_array(text: str, name: str) -> None:
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        return
    if isinstance(whole, list) and all(isinstance(row, dict) for row in whole):
        raise DataError(
            f"is one JSON array of {len(whole)} objects, not one object a line",
            where=name,
            fix="write one object a line, e.g. jq -c '.[]' FILE",
        )


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
            f"is a damaged or truncated Parquet file: {error}",
            where=name,
            fix="copy or download the file again; or give it the ending of what it is",
        ) from error
    if doubled:
        raise DataError("has columns of the same name", where=name, found=", ".join(doubled), fix="rename one of them")
    values = {column: _cells(table.column(column), column, name) for column in table.column_names}
    return Records(names, range(1, rows + 1), values)


def _cells(column: pa.ChunkedArray, called: str, name: str) -> Column:
    """Raises: DataError for what Arrow lets into a file and Python has no value for: a year 300,000, bytes that are no
    UTF-8, a time zone that nobody knows."""
    try:
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            column.validate(full=True)
            column = column.cast(pa.string())
        else:
            column = column.to_pylist()
    except (pa.ArrowException, ValueError, OverflowError, LookupError) as error:
        raise DataError(
            f"has values in column {called!r} that cannot be read: {' '.join(str(error).split())}",
            where=name,
            found=str(column.type),
            fix="write this column as strings",
        ) from error
    cells: Column = column
    return cells
