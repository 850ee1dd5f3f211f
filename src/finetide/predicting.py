"""``finetide predict``: a file of rows in, the same rows with label and score out."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from finetide.config.images import ImageColumnParams, ImageIngestParams
from finetide.data.csv_text import csv_text
from finetide.data.images.archive import SUFFIXES
from finetide.data.images.pack import is_utf8, packed
from finetide.data.images.reading import read
from finetide.data.questions import squad
from finetide.data.readers import HALF_CHARACTER
from finetide.data.records import delimiter_of
from finetide.data.text import nearest
from finetide.errors import DataError, InputError
from finetide.files import write_bytes
from finetide.runtime import Prediction, Predictor

AGAIN = "copy or download the file again; or give it the ending of what it is"
CORRECT = "correct this line, or take it out"
CHUNK_ROWS, CHUNK_IMAGES, CHUNK_QUESTIONS = 2048, 64, 256
ADDED = ("label", "score")
QUESTION, ANSWER = ("question", "context"), ("answer", "start", "end", "score")
FORMATS = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
Row = dict[str, Any]


def predict_file(
    predictor: Predictor,
    source: Path,
    target: Path,
    *,
    text_column: str | None,
    scores: bool,
    prefix: str = "",
    warn: Callable[[str], None] = lambda _: None,
) -> int:
    """Write the rows of ``source`` with ``label``, ``score`` and, if asked for, one column a label; returns the rows.

    Args:
        text_column: which column holds the text; without it, ``text``.
        prefix: put before the name of every added column.
        warn: told how many texts are empty: they are labelled like all others, and it means nothing.

    Raises:
        InputError: an unknown format, no such file or column, or a column that would be overwritten.
        DataError: a row that cannot be read. ``target`` is then as it was.
    """
    _format(target)
    columns, rows = _read(source)
    column = _text_column(columns, text_column, source)
    added = [f"{prefix}{name}" for name in [*ADDED, *(predictor.labels if scores else ())]]
    clash = sorted(set(columns) & set(added))
    if clash:
        raise InputError(
            f"has a column {clash[0]!r} already",
            where=str(source),
            fix="name the new ones apart: --prefix predicted_",
        )
    done: list[Row] = []
    blank = 0
    with tqdm(desc="predicting", unit="row", file=sys.stderr, disable=not sys.stderr.isatty()) as bar:
        for chunk in _chunks(rows):
            texts = ["" if row[column] is None else str(row[column]) for row in chunk]
            blank += sum(not text.strip() for text in texts)
            for row, found in zip(chunk, predictor.predict(texts), strict=True):
                extra = [found.scores[label] for label in predictor.labels] if scores else []
                done.append({**row, **dict(zip(added, [found.label, found.score, *extra], strict=True))})
            bar.update(len(chunk))
    _write(target, [*columns, *added], done)
    if blank:
        warn(f"{blank} of {len(done)} texts in column {column!r} are empty; the labels of these rows mean nothing")
    return len(done)


def predict_images(predictor: Predictor, source: Path, target: Path, *, scores: bool, prefix: str = "") -> int:
    """Write one row an image of ``source``: ``image`` (where it lies), label, score and, if asked for, one column a
    label; returns the rows.

    Args: source: an image, a folder of them at any depth, or a file that ingest reads (zip, NPZ, IDX, Parquet).

    Raises: InputError: no such file, an unknown format, nothing in it. DataError: an image that cannot be used, by its
    name. ``target`` is then as it was.
    """
    _format(target)
    added = [f"{prefix}{name}" for name in [*ADDED, *(predictor.labels if scores else ())]]
    done: list[Row] = []
    with tqdm(desc="predicting", unit="image", file=sys.stderr, disable=not sys.stderr.isatty()) as bar:
        for chunk in _chunks(_images(source), CHUNK_IMAGES):
            for row, found in zip(chunk, _labelled(predictor, chunk, source), strict=True):
                extra = [found.scores[label] for label in predictor.labels] if scores else []
                done.append({"image": row["name"], **dict(zip(added, [found.label, found.score, *extra], strict=True))})
            bar.update(len(chunk))
    if not done:
        raise InputError("holds no image", where=str(source), fix="name an image, or a folder of them, after --input")
    _write(target, ["image", *added], done)
    return len(done)


def predict_questions(
    predictor: Predictor, source: Path, target: Path, *, columns: tuple[str, str] = QUESTION, prefix: str = ""
) -> int:
    """Write the rows of ``source``, or of SQuAD's JSON one row a question, with ``answer``, its ``start`` and ``end``
    in the context (empty where there is no answer) and ``score``; returns the rows.

    Args: columns: of the question and of its context.

    Raises: InputError: an unknown format, no such file or column, or a column that would be overwritten. DataError: a
    row that cannot be read, or asks nothing. ``target`` is then as it was.
    """
    _format(target)
    if squad.SUFFIXES[0] in source.suffixes:
        columns = QUESTION
        names, rows = ["id", *QUESTION], _squad_rows(source)
    else:
        names, rows = _read(source)
    for column in columns:
        _question_column(names, column, source)
    added = [f"{prefix}{name}" for name in ANSWER]
    clash = sorted(set(names) & set(added))
    if clash:
        raise InputError(
            f"has a column {clash[0]!r} already", where=str(source), fix="name the new ones apart: --prefix predicted_"
        )
    done: list[Row] = []
    with tqdm(desc="answering", unit="question", file=sys.stderr, disable=not sys.stderr.isatty()) as bar:
        for chunk in _chunks(rows, CHUNK_QUESTIONS):
            asked = [tuple(str(row[column] or "") for column in columns) for row in chunk]
            for place, texts in enumerate(asked, start=len(done) + 1):
                for column, text in zip(columns, texts, strict=True):
                    if not text.strip():
                        raise DataError(f"{column} is empty", where=f"{source}, row {place}", fix=CORRECT)
            for row, found in zip(chunk, predictor.predict(asked), strict=True):
                said = [found.text, found.start, found.end, found.score]
                done.append({**row, **dict(zip(added, said, strict=True))})
            bar.update(len(chunk))
    _write(target, [*names, *added], done)
    return len(done)


def _squad_rows(source: Path) -> Iterator[Row]:
    if not source.is_file():
        raise InputError("no such file", where=str(source), fix="look at the name after --input")
    for given in squad.read_squad(source, str(source), "auto", None):
        yield {"id": given.id, "question": given.question, "context": given.context}


def _question_column(names: Sequence[str], column: str, source: Path) -> None:
    if column not in names:
        near = nearest(column, names)
        meant = f"; did you mean {near!r}?" if near else ""
        fix = f"name them: --question and --context, of: {', '.join(names)}{meant}"
        if len(names) < 2:
            fix = "a file of questions has two columns at least, the question and its context"
        raise InputError(f"has no column {column!r}", where=str(source), fix=fix)


def _labelled(predictor: Predictor, chunk: list[Row], source: Path) -> list[Prediction]:
    try:
        return predictor.predict([row["image"] for row in chunk])
    except InputError:
        for row in chunk:  # which one it was, by its own name
            try:
                predictor.predict([row["image"]])
            except InputError as error:
                raise DataError(error.what, where=f"{source}: {row['name']}", fix=error.fix) from error
        raise


def _images(source: Path) -> Iterator[Row]:
    """``name`` and ``image`` (a path, or bytes) of each."""
    if source.is_dir():
        root = source.resolve()
        for path in sorted(source.rglob("*")):
            if path.is_file() and path.suffix.lower() in SUFFIXES:
                name = path.relative_to(source).as_posix()
                if not is_utf8(name):
                    said = os.fsencode(name).decode(errors="replace")
                    raise InputError("has a name that is not UTF-8", where=f"{source}: {said}", fix="rename it")
                if not path.resolve().is_relative_to(root):
                    fix = "put the image itself there"
                    raise InputError("is a link that leads out of the folder", where=f"{source}: {name}", fix=fix)
                yield {"name": path.relative_to(source).as_posix(), "image": path}
    elif not source.is_file():
        raise InputError("no such file", where=str(source), fix="look at the name after --input")
    elif source.suffix.lower() in SUFFIXES:
        yield {"name": source.name, "image": source}
    else:
        columns = ImageColumnParams(image="image", label="label", split=None, group=None)
        params = ImageIngestParams(columns=columns, encoding="auto")
        with TemporaryDirectory() as scratch:
            archive = packed(source, Path(scratch))  # of a manifest and its images
            for found in read(archive, archive.name, params, None):
                yield {"name": found.name, "image": found.data}


def columns_of(source: Path) -> list[str]:
    """The file's columns. Raises: InputError or DataError as `predict_file`."""
    return _read(source)[0]


def _text_column(columns: Sequence[str], wanted: str | None, source: Path) -> str:
    name = wanted or "text"
    if name not in columns:
        near = nearest(name, columns)
        meant = f"; did you mean {near!r}?" if near else ""
        raise InputError(
            "has no such column", where=str(source), found=name, fix=f"--text with one of: {', '.join(columns)}{meant}"
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
    if source.is_dir():
        raise InputError("is a folder", where=str(source), fix="--input takes one file")
    if not source.is_file():
        raise InputError("no such file", where=str(source), fix="look at the name after --input")
    if kind == "parquet":
        try:
            table = pq.read_table(source)
            table.validate(full=True)
            rows = table.to_pylist()
        except (pa.ArrowException, OSError, ValueError, OverflowError, LookupError) as error:
            raise DataError(f"is not readable as Parquet: {error}", where=str(source), fix=AGAIN) from error
        _refuse_twins(table.column_names, source)
        return table.column_names, iter(rows)
    text = _text(source)
    if kind == "jsonl":
        rows = list(_json_rows(text, source))
        if not rows:
            raise DataError("is empty", where=str(source), fix="one JSON object a line is needed")
        columns = list(dict.fromkeys(name for row in rows for name in row))
        return columns, ({name: row.get(name) for name in columns} for row in rows)
    return _csv_rows(text, source, "\t" if kind == "tsv" else delimiter_of(text, source.name))


def _text(source: Path) -> str:
    try:
        data = source.read_bytes()
        if source.name.endswith(".gz"):
            data = gzip.decompress(data)
        return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"is not UTF-8: {error}", where=str(source), fix="save it as UTF-8") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"is a broken gzip file: {error}", where=str(source), fix=AGAIN) from error


def _json_rows(text: str, source: Path) -> Iterator[Row]:
    # Not splitlines: a string may hold other characters that Unicode counts as line ends.
    for number, line in enumerate(io.StringIO(text, newline=None), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"is not JSON: {error}", where=f"{source}, line {number}", fix=CORRECT) from error
        if not isinstance(row, dict):
            raise DataError("is not a JSON object", where=f"{source}, line {number}", found=line[:80], fix=CORRECT)
        if "\\u" in line and HALF_CHARACTER.search(json.dumps(row, ensure_ascii=False)):
            raise DataError("has half a character (a lone surrogate)", where=f"{source}, line {number}", fix=CORRECT)
        yield row


def _csv_rows(text: str, source: Path, delimiter: str) -> tuple[list[str], Iterator[Row]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    found = _csv_lines(reader, source)
    columns = next((row for row in found if row), [])
    if not columns:
        raise DataError("is empty", where=str(source), fix="a header with the columns is needed")
    _refuse_twins(columns, source)

    def rows() -> Iterator[Row]:
        for values in found:
            if values and len(values) != len(columns):
                raise DataError(
                    f"has {len(values)} fields, the header has {len(columns)}",
                    where=f"{source}, line {reader.line_num}",
                    fix=CORRECT,
                )
            if values:
                yield dict(zip(columns, values, strict=True))

    return columns, rows()


def _csv_lines(reader: Any, source: Path) -> Iterator[list[str]]:
    while True:
        # Fields longer than 128 kB are texts like any other; the limit is the module's, so it is put back.
        limit = csv.field_size_limit(sys.maxsize)
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(f"is not CSV: {error}", where=f"{source}, line {reader.line_num}") from error
        finally:
            csv.field_size_limit(limit)
        yield row


def _refuse_twins(columns: Sequence[str], source: Path) -> None:
    twice = [name for name in columns if columns.count(name) > 1]
    if twice:
        raise DataError(f"has two columns named {twice[0]!r}", where=str(source), fix="rename one of them")


def _chunks(rows: Iterator[Row], size: int = CHUNK_ROWS) -> Iterator[list[Row]]:
    chunk: list[Row] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _write(target: Path, columns: list[str], rows: list[Row]) -> None:
    kind = _format(target)
    if kind == "parquet":
        stream = io.BytesIO()
        table = pa.table({name: _arrow(name, [row[name] for row in rows], target) for name in columns})
        pq.write_table(table, stream)
        write_bytes(target, stream.getvalue())
        return
    if kind == "jsonl":
        text = "".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows)
    else:
        cells = ([_cell(row[name]) for name in columns] for row in rows)
        text = csv_text(columns, cells, "\t" if kind == "tsv" else ",")
    data = text.encode()
    write_bytes(target, gzip.compress(data, mtime=0) if target.name.endswith(".gz") else data)


def _cell(value: Any) -> Any:
    """A list is written as ingest reads it."""
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, (list, dict)) else value


def _arrow(name: str, cells: list[Any], target: Path) -> pa.Array:
    try:
        return pa.array(cells)
    except (pa.ArrowException, OverflowError, ValueError, TypeError) as error:
        raise DataError(
            f"cannot hold column {name!r}: {' '.join(str(error).split())}",
            where=str(target),
            fix="write .jsonl, which holds values of several kinds",
        ) from error
