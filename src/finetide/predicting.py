"""``finetide predict``: a file of rows in, the same rows with label and score out."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from finetide.errors import DataError, InputError
from finetide.files import write_bytes
from finetide.runtime import Predictor

CHUNK_ROWS = 2048
ADDED = ("label", "score")
FORMATS = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
Row = dict[str, Any]


def predict_file(predictor: Predictor, source: Path, target: Path, *, text_column: str | None, scores: bool) -> int:
    """Write the rows of ``source`` with ``label``, ``score`` and, if asked for, one column a label; returns the rows.

    Args: text_column: which column holds the text; without it, ``text``.

    Raises:
        InputError: an unknown format, no such file or column, or a column that would be overwritten.
        DataError: a row that cannot be read. ``target`` is then as it was.
    """
    _format(target)
    columns, rows = _read(source)
    column = _text_column(columns, text_column, source)
    added = [*ADDED, *(predictor.labels if scores else ())]
    clash = sorted(set(columns) & set(added))
    if clash:
        raise InputError(f"has a column {clash[0]!r} already", where=str(source), fix="rename it, then predict again")
    done: list[Row] = []
    with tqdm(desc="predicting", unit="row", file=sys.stderr, disable=not sys.stderr.isatty()) as bar:
        for chunk in _chunks(rows):
            texts = ["" if row[column] is None else str(row[column]) for row in chunk]
            for row, found in zip(chunk, predictor.predict(texts), strict=True):
                extra = {label: found.scores[label] for label in predictor.labels} if scores else {}
                done.append({**row, "label": found.label, "score": found.score, **extra})
            bar.update(len(chunk))
    _write(target, [*columns, *added], done)
    return len(done)


def columns_of(source: Path) -> list[str]:
    """The file's columns. Raises: InputError or DataError as `predict_file`."""
    return _read(source)[0]


def _text_column(columns: Sequence[str], wanted: str | None, source: Path) -> str:
    name = wanted or "text"
    if name not in columns:
        raise InputError(
            "has no such column", where=str(source), found=name, fix=f"--text with one of: {', '.join(columns)}"
        )
    return name


def _format(path: Path) -> str:
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    if suffix not in FORMATS or (suffix == ".parquet" and path.name.endswith(".gz")):
        known = ", ".join([*FORMATS, ".csv.gz", ".jsonl.gz"])
        raise InputError("is of an unknown format", where=str(path), found="".join(path.suffixes), fix=f"use {known}")
    return FORMATS[suffix]


def _read(source: Path) -> tuple[list[str], Iterator[Row]]:
    kind = _format(source)
    if not source.is_file():
        raise InputError("no such file", where=str(source))
    if kind == "parquet":
        try:
            table = pq.read_table(source)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"is not readable as Parquet: {error}", where=str(source)) from error
        return table.column_names, iter(table.to_pylist())
    text = _text(source)
    if kind == "jsonl":
        rows = list(_json_rows(text, source))
        columns = list(dict.fromkeys(name for row in rows for name in row))
        return columns, ({name: row.get(name) for name in columns} for row in rows)
    return _csv_rows(text, source, "\t" if kind == "tsv" else ",")


def _text(source: Path) -> str:
    try:
        data = source.read_bytes()
        if source.name.endswith(".gz"):
            data = gzip.decompress(data)
        return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"is not UTF-8: {error}", where=str(source), fix="save it as UTF-8") from error
    except (EOFError, gzip.BadGzipFile) as error:
        raise DataError(f"is a broken gzip file: {error}", where=str(source)) from error


def _json_rows(text: str, source: Path) -> Iterator[Row]:
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"is not JSON: {error}", where=f"{source}, line {number}") from error
        if not isinstance(row, dict):
            raise DataError("is not a JSON object", where=f"{source}, line {number}", found=line[:80])
        yield row


def _csv_rows(text: str, source: Path, delimiter: str) -> tuple[list[str], Iterator[Row]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    columns = next(reader, [])
    if not columns:
        raise DataError("is empty", where=str(source), fix="a header with the columns is needed")

    def rows() -> Iterator[Row]:
        try:
            for values in reader:
                if values and len(values) != len(columns):
                    raise DataError(
                        f"has {len(values)} fields, the header has {len(columns)}",
                        where=f"{source}, line {reader.line_num}",
                    )
                if values:
                    yield dict(zip(columns, values, strict=True))
        except csv.Error as error:
            raise DataError(f"is not CSV: {error}", where=f"{source}, line {reader.line_num}") from error

    return columns, rows()


def _chunks(rows: Iterator[Row]) -> Iterator[list[Row]]:
    chunk: list[Row] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == CHUNK_ROWS:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _write(target: Path, columns: list[str], rows: list[Row]) -> None:
    kind = _format(target)
    if kind == "parquet":
        stream = io.BytesIO()
        table = pa.table({name: [row[name] for row in rows] for name in columns})
        pq.write_table(table, stream)
        write_bytes(target, stream.getvalue())
        return
    if kind == "jsonl":
        text = "".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows)
    else:
        lines = io.StringIO(newline="")
        writer = csv.writer(lines, delimiter="\t" if kind == "tsv" else ",", lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([["" if row[name] is None else row[name] for name in columns] for row in rows])
        text = lines.getvalue()
    data = text.encode()
    write_bytes(target, gzip.compress(data, mtime=0) if target.name.endswith(".gz") else data)
