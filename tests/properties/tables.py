"""Any table that a person could hand in, as bytes of a file, with what its rows are: strategies for hypothesis."""

from __future__ import annotations

import csv
import gzip
import io
import json
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

HEADER = ("text", "intent")
SURROGATE = "\ud800"
NASTY = (
    "",
    " ",
    "\0",
    "\ufeff",
    SURROGATE,
    "\U0001f600\u200d\u202e",
    'say ""no""',
    '"',
    "a\nb",
    "a\r\nb\rc",
    "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e",
    "=1+1",
    "NULL",
    "NaN",
    "1e400",
    "9" * 400,
    "-0",
    "x" * 3000,
    "e\u0301 \u00e9 \ufb01 \u0130 \u00df",
    "comma, semicolon; tab\t pipe|",
    "\\",
    "\\N",
)
SIGNS = " \t\r\n\",;|'\\\0\ufeff\u2028\x85\x1cab\u00e91" + SURROGATE


def quick(examples: int) -> settings:
    """The same examples each time, as many as fit a folder that takes less than a minute."""
    return settings(
        derandomize=True,
        deadline=None,
        max_examples=examples,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )


def mutant(examples: int) -> settings:
    """For a check that has to fail: the first failing example is enough."""
    return settings(
        quick(examples), phases=(Phase.explicit, Phase.generate), report_multiple_bugs=False, print_blob=False
    )


@dataclass(frozen=True)
class File:
    """``rows``: (text, label) of each record as they were meant, or None where the bytes are no promise of any."""

    name: str
    data: bytes
    rows: tuple[tuple[Any, Any], ...] | None = None
    delimiter: str = ","


def texts(*, plain: bool = False) -> st.SearchStrategy[str]:
    """Args: plain: no NUL and no lone surrogate, which no file of ours may have."""
    drawn = st.one_of(st.text(max_size=25), st.sampled_from(NASTY), st.text(alphabet=SIGNS, max_size=15))
    return (
        drawn.map(lambda text: "".join("?" if sign in "\0" + SURROGATE else sign for sign in text)) if plain else drawn
    )


def labels() -> st.SearchStrategy[str]:
    return st.sampled_from(["a", "b", "A ", "", "\u00e9", "0", " ", "1.0"])


def values() -> st.SearchStrategy[Any]:
    """What JSON and Parquet can hold besides text."""
    scalars = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.sampled_from([2**63, -(10**40), 10**309, 1e308, 5e-324, -0.0, float("inf"), float("nan")]),
        texts(),
    )
    return st.one_of(scalars, st.lists(scalars, max_size=2), st.dictionaries(texts(), scalars, max_size=2))


@st.composite
def files(draw: st.DrawFn) -> File:
    """Any file at all: tables in any shape and dialect, damaged ones, and bytes that are no table."""
    made = draw(st.one_of(csv_files(), json_files(), parquet_files(), strange_bytes()))
    if draw(st.integers(0, 5)) or not made.data:
        return made
    at = draw(st.integers(0, len(made.data) - 1))
    hurt = draw(st.sampled_from([b"", b"\0", b"\xff", b'"', b"\n", b"{", made.data[:at]]))
    return File(made.name, made.data[:at] + hurt + (b"" if draw(st.booleans()) else made.data[at + 1 :]))


@st.composite
def csv_files(draw: st.DrawFn) -> File:
    suffix = draw(st.sampled_from(["csv", "tsv", "csv.gz", "CSV"]))
    width = draw(st.integers(0, 2))
    header = draw(st.permutations([*HEADER, *(draw(texts()) for _ in range(width))]))
    rows = draw(
        st.lists(st.lists(texts(), min_size=len(header), max_size=len(header) + draw(st.integers(0, 1))), max_size=5)
    )
    dialect: dict[str, Any] = {
        "delimiter": draw(st.sampled_from(",;\t|")),
        "quotechar": draw(st.sampled_from("\"'")),
        "quoting": draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONE])),
        "lineterminator": draw(st.sampled_from(["\n", "\r\n", "\r", "\n\n"])),
        "doublequote": draw(st.booleans()),
        "escapechar": "\\",
    }
    stream = io.StringIO(newline="")
    csv.writer(stream, **dialect).writerows([header, *rows])
    codec = draw(st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-be", "cp1252"]))
    errors = "surrogatepass" if codec.startswith("utf") else "replace"
    return zipped(f"a.{suffix}", stream.getvalue().encode(codec, errors))


@st.composite
def json_files(draw: st.DrawFn) -> File:
    record = st.fixed_dictionaries(
        {},
        optional={"text": values(), "intent": values(), draw(texts()): values(), "split": labels(), "row_id": texts()},
    )
    rows = draw(st.lists(st.one_of(record, record, record, values()), max_size=5))
    ascii_only = draw(st.booleans())
    ends = draw(st.sampled_from(["\n", "\r\n", "\n\n", "\r"]))
    lines = ends.join(json.dumps(row, ensure_ascii=ascii_only) for row in rows)
    return zipped(f"a.{draw(st.sampled_from(['jsonl', 'ndjson', 'jsonl.gz']))}", lines.encode("utf-8", "surrogatepass"))


@st.composite
def parquet_files(draw: st.DrawFn) -> File:
    """Columns of many Arrow types, values at the ends of their ranges among them."""
    count = draw(st.integers(0, 4))
    columns = {
        name: draw(arrow_columns(count)) for name in draw(st.sampled_from([HEADER, ("text",), (*HEADER, "split")]))
    }
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream)
    return File(f"a.{draw(st.sampled_from(['parquet', 'pq']))}", stream.getvalue())


@st.composite
def arrow_columns(draw: st.DrawFn, count: int) -> pa.Array:
    plain = texts(plain=True)
    kinds: dict[Any, st.SearchStrategy[Any]] = {
        pa.string(): plain,
        pa.large_string(): plain,
        pa.binary(): st.binary(max_size=4),
        pa.int64(): st.integers(-(2**63), 2**63 - 1),
        pa.float64(): st.floats(),
        pa.bool_(): st.booleans(),
        pa.null(): st.none(),
        pa.timestamp("s"): st.integers(-(10**15), 10**15),
        pa.timestamp("ns", tz="Nowhere/Land"): st.integers(-(2**62), 2**62),
        pa.date32(): st.integers(-(2**31), 2**31 - 1),
        pa.decimal128(38, 2): st.decimals(-(10**30), 10**30, places=2),
        pa.list_(pa.string()): st.lists(plain, max_size=2),
        pa.struct([("a", pa.int8())]): st.fixed_dictionaries({"a": st.integers(0, 9)}),
    }
    kind = draw(st.sampled_from(list(kinds)))
    drawn = draw(st.lists(st.one_of(kinds[kind], kinds[kind], st.none()), min_size=count, max_size=count))
    if pa.types.is_binary(kind) and draw(st.booleans()):
        # Bytes that say they are a string, and are none.
        made = pa.array(drawn, kind)
        return pa.Array.from_buffers(pa.string(), count, made.buffers(), made.null_count)
    return pa.array(drawn, kind)


def strange_bytes() -> st.SearchStrategy[File]:
    names = st.sampled_from(["a.csv", "a.jsonl", "a.parquet", "a.csv.gz", "a.txt", "a", "a.parquet.gz", "a.xlsx"])
    return st.builds(File, names, st.binary(max_size=60))


@st.composite
def sound_files(draw: st.DrawFn, name: str = "a") -> File:
    """Files that have to be read, each with what has to come out."""
    rows = draw(st.lists(st.tuples(texts(plain=True), labels()), min_size=1, max_size=8))
    kind = draw(st.sampled_from(["csv", "csv", "tsv", "csv.gz", "jsonl", "jsonl.gz", "parquet"]))
    if kind == "parquet":
        stream = io.BytesIO()
        pq.write_table(pa.table({"text": [row[0] for row in rows], "intent": [row[1] for row in rows]}), stream)
        return File(f"{name}.{kind}", stream.getvalue(), tuple(rows))
    ends = draw(st.sampled_from(["\n", "\r\n", "\r", "\n\n"]))
    if kind.startswith("jsonl"):
        ascii_only = draw(st.booleans())
        lines = [json.dumps(dict(zip(HEADER, row, strict=True)), ensure_ascii=ascii_only) + ends for row in rows]
        return zipped(f"{name}.{kind}", "".join(lines).encode(), tuple(rows))
    delimiter = "\t" if kind == "tsv" else draw(st.sampled_from(",;\t"))
    stream_ = io.StringIO(newline="")
    # The csv module leaves a line break that is not its own line end unquoted, and no reader can tell then.
    broken = any(sign in text for text, _ in rows for sign in "\r\n")
    quoting = csv.QUOTE_ALL if broken or draw(st.booleans()) else csv.QUOTE_MINIMAL
    writer = csv.writer(stream_, delimiter=delimiter, lineterminator=ends, quoting=quoting)
    extra = draw(st.booleans())
    writer.writerow([*HEADER, *(["more"] if extra else [])])
    writer.writerows([*row, *([row[0]] if extra else [])] for row in rows)
    codec = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
    return zipped(f"{name}.{kind}", stream_.getvalue().encode(codec), tuple(rows), delimiter)


def zipped(name: str, data: bytes, rows: tuple[tuple[Any, Any], ...] | None = None, delimiter: str = ",") -> File:
    return File(name, gzip.compress(data, mtime=0) if name.endswith(".gz") else data, rows, delimiter)
