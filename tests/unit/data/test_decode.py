from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from finetide.data.decode import decode, read_bytes
from finetide.errors import DataError

TEXT = "text,label\nGrüße,a\nдень,b\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_auto_reads_utf8_and_whatever_has_a_byte_order_mark(encoding: str) -> None:
    assert decode(TEXT.encode(encoding), "a.csv", "auto") == TEXT


def test_auto_reads_big_endian_utf16_by_its_mark() -> None:
    assert decode(b"\xfe\xff" + TEXT.encode("utf-16-be"), "a.csv", "auto") == TEXT


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (TEXT.encode("utf-16-le"), "utf-16"),
        (TEXT.encode("utf-16"), "utf-16"),
        (TEXT.encode("utf-8-sig"), "utf-8"),
    ],
)
def test_a_named_encoding_takes_files_with_and_without_a_mark(data: bytes, encoding: str) -> None:
    assert decode(data, "a.csv", encoding) == TEXT


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_single_byte_encodings_are_read_when_named(encoding: str) -> None:
    assert decode("Grüße".encode(encoding), "a.csv", encoding) == "Grüße"


def test_undecodable_bytes_are_refused_by_line() -> None:
    data = b"text\nok\nGr\xfc\xdfe\nfine\nna\xefve\n"
    with pytest.raises(DataError) as caught:
        decode(data, "old.csv", "auto")
    message = str(caught.value)
    assert message.startswith("old.csv: has bytes that are not UTF-8:")
    assert "line 3: bytes fc: invalid start byte" in message
    assert "line 5: bytes ef: invalid continuation byte" in message
    assert "or say what it is (cp1252, latin-1, utf-16): ingest.encoding in params.yaml, or init --encoding" in message


def test_no_more_than_twenty_undecodable_places_are_listed() -> None:
    with pytest.raises(DataError) as caught:
        decode(b"\xff\n" * 30, "old.csv", "utf-8")
    message = str(caught.value)
    assert "line 20:" in message
    assert "line 21:" not in message
    assert "looked no further" in message
    assert "it says utf-8 now" in message


def test_a_utf16_file_cut_in_half_a_character_is_refused() -> None:
    with pytest.raises(DataError, match="has bytes that are not UTF-16"):
        decode(TEXT.encode("utf-16")[:-1], "a.csv", "auto")


def test_nul_characters_are_refused_with_the_likely_reason() -> None:
    with pytest.raises(DataError) as caught:
        decode(b"text\na\0b\0\n", "a.csv", "auto")
    assert "line 2: 2 NUL characters" in str(caught.value)
    assert "UTF-16 without a byte-order mark, say so: ingest.encoding: utf-16 in params.yaml" in str(caught.value)


def test_utf16_without_a_mark_is_told_by_its_share_of_nul() -> None:
    with pytest.raises(DataError, match="is UTF-16 without a byte-order mark, it seems"):
        decode("text\nhello\n".encode("utf-16-le"), "a.csv", "auto")


def test_gzipped_files_are_unzipped(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"text"))
    assert read_bytes(tmp_path / "a.csv.gz", "a.csv.gz") == b"text"


@pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda data: b"no gzip at all", lambda data: data[:20]])
def test_damaged_gzip_files_are_refused(tmp_path: Path, damage: object) -> None:
    assert callable(damage)
    (tmp_path / "a.csv.gz").write_bytes(damage(gzip.compress(bytes(range(256)) * 9)))
    with pytest.raises(DataError, match=r"a.csv.gz: is a damaged or truncated gzip file: .*\n  fix: copy or download"):
        read_bytes(tmp_path / "a.csv.gz", "a.csv.gz")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone.csv: cannot be read: No such file"):
        read_bytes(tmp_path / "gone.csv", "gone.csv")
