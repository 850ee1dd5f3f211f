"""Bytes of a text file → text, or a refusal that names the lines."""

from __future__ import annotations

import codecs
import gzip
import zlib
from pathlib import Path

from finetide.data.problems import Problems
from finetide.errors import DataError

# Western text in UTF-16 has half of its bytes NUL; other scripts less, and those are shown by line.
NUL_SHARE = 0.25
# How to say so, also before there is a params.yaml.
UTF_16 = "ingest.encoding: utf-16 in params.yaml, or init --encoding utf-16"
# The longest mark first: UTF-16's is the start of no other one that we read.
MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


def read_bytes(path: Path, name: str) -> bytes:
    """Content of a file, unzipped when its name ends in ``.gz``.

    Raises:
        DataError: the file is missing, or a damaged gzip file.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", where=name) from error
    if not name.lower().endswith(".gz"):
        return data
    try:
        return gzip.decompress(data)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"is a damaged or truncated gzip file: {error}",
            where=name,
            fix="copy or download the file again; or take .gz off its name if it is not packed",
        ) from error


def decode(data: bytes, name: str, encoding: str) -> str:
    """Text of ``data``; ``encoding`` is a value of ingest.encoding. A byte-order mark is dropped.

    Raises:
        DataError: bytes that are no text in this encoding, or NUL characters, by line.
    """
    codec, start = _codec(data, encoding)
    try:
        text = data[start:].decode(codec)
    except UnicodeDecodeError:
        raise _undecodable(data[start:], name, codec, encoding).error() from None
    if text.count("\0") > len(text) * NUL_SHARE:
        raise DataError(
            "is UTF-16 without a byte-order mark, it seems: from line 1 on, every other byte is NUL",
            where=name,
            fix=f"save the file as UTF-8; or say what it is: {UTF_16}",
        )
    if "\0" in text:
        raise _nul_characters(text, name).error()
    return text


def _codec(data: bytes, encoding: str) -> tuple[str, int]:
    """The codec to use and the length of the byte-order mark."""
    for mark, codec in MARKS:
        family = codec.removesuffix("-le").removesuffix("-be")
        if data.startswith(mark) and encoding in ("auto", family):
            return codec, len(mark)
    # Windows writes UTF-16 little-endian when it writes no mark.
    return {"auto": "utf-8", "utf-16": "utf-16-le"}.get(encoding, encoding), 0


def _undecodable(data: bytes, name: str, codec: str, encoding: str) -> Problems:
    problems = Problems(
        name,
        f"has bytes that are not {codec.removesuffix('-le').removesuffix('-be').upper()}",
        fix="save the file as UTF-8, or say what it is (cp1252, latin-1, utf-16): ingest.encoding in params.yaml, or"
        " init --encoding" + ("" if encoding == "auto" else f"; it says {encoding} now"),
    )
    start, line = 0, 1
    while start < len(data) and not problems.full:
        try:
            data[start:].decode(codec)
            break
        except UnicodeDecodeError as error:
            line += data[start : start + error.start].decode(codec).count("\n")
            bad = data[start + error.start : start + error.end]
            problems.add(line, f"bytes {bad.hex(' ')}: {error.reason}")
            start += error.end
    if problems.full:
        problems.lines.append("looked no further")
    return problems


def _nul_characters(text: str, name: str) -> Problems:
    problems = Problems(
        name,
        "has NUL characters",
        fix=f"take them out; or, if it is UTF-16 without a byte-order mark, say so: {UTF_16}",
    )
    for line, content in enumerate(text.split("\n"), start=1):
        if "\0" in content:
            problems.add(line, f"{content.count(chr(0))} NUL characters")
    return problems
