from __future__ import annotations

import os
from pathlib import Path

import pytest

from finetide.data.records import PARQUET_SUFFIXES, TEXT_SUFFIXES
from finetide.errors import DataError
from finetide.registry import raw


def write(path: Path, text: str = "text\nhello\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_data_files_are_listed_by_name_and_the_rest_is_known_not_to_be_data(tmp_path: Path) -> None:
    data = ["a.csv", "b.csv.gz", "c.JSONL", "d.ndjson", "e.parquet", "year/f.pq"]
    other = ["a.csv.dvc", ".gitignore", ".DS_Store", ".hidden/x.csv", "g.csv.tmp", "h.csv.part", "i.csv~"]
    for name in data + other:
        write(tmp_path / name)
    assert raw.listing(tmp_path) == data


def test_what_counts_as_data_is_what_ingest_reads() -> None:
    assert set(raw.TEXT_SUFFIXES) == set(TEXT_SUFFIXES)
    assert set(raw.PARQUET_SUFFIXES) == set(PARQUET_SUFFIXES)
    assert raw.is_supported("a.CSV.gz")
    assert not raw.is_supported("a.parquet.gz")  # ingest refuses it


def test_a_file_that_nothing_can_read_is_not_left_out_silently(tmp_path: Path) -> None:
    write(tmp_path / "june.xlsx")
    with pytest.raises(
        DataError,
        match=r"june\.xlsx: is not a kind of file that Finetide reads \(\.csv, .*\n.*move it out of this folder",
    ):
        raw.listing(tmp_path)


def test_a_link_to_nothing_and_a_pipe_are_not_left_out_silently(tmp_path: Path) -> None:
    for name in ("a.csv", ".b.csv", "c.csv.part"):
        (tmp_path / name).symlink_to("../gone.csv")
    (tmp_path / "links").symlink_to(tmp_path.parent)
    (tmp_path / "a.csv.dvc").touch()  # DVC brings it back
    assert raw.listing(tmp_path) == []
    (tmp_path / "a.csv.dvc").unlink()
    with pytest.raises(
        DataError, match=r"a\.csv: is a link to a file that is not there \(found '\.\./gone\.csv'\)\n.*put"
    ):
        raw.listing(tmp_path)
    (tmp_path / "a.csv").unlink()
    os.mkfifo(tmp_path / "d.csv")
    with pytest.raises(DataError, match=r"d\.csv: is no file but a pipe, socket or device\n.*put the data there"):
        raw.listing(tmp_path)


def test_a_missing_folder_is_empty(tmp_path: Path) -> None:
    assert raw.listing(tmp_path / "raw") == []


def test_files_are_copied_under_their_names(tmp_path: Path) -> None:
    folder = tmp_path / "raw"
    files = [write(tmp_path / "b.csv", "b"), write(tmp_path / "a.csv", "a")]
    assert raw.add(folder, files) == ["b.csv", "a.csv"]
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"a.csv": "a", "b.csv": "b"}


def test_the_same_bytes_again_change_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "raw"
    raw.add(folder, [write(tmp_path / "a.csv")])
    before = (folder / "a.csv").stat()
    raw.add(folder, [tmp_path / "a.csv", folder / "a.csv"])
    assert (folder / "a.csv").stat().st_mtime_ns == before.st_mtime_ns


def test_a_name_taken_by_other_bytes_is_refused_before_anything_is_copied(tmp_path: Path) -> None:
    folder = tmp_path / "raw"
    write(folder / "a.csv", "old")
    with pytest.raises(
        DataError, match=r"a\.csv is taken by a file with other content; raw files never change\n  fix: give the new"
    ):
        raw.add(folder, [write(tmp_path / "b.csv"), write(tmp_path / "a.csv", "new")])
    assert [path.name for path in folder.iterdir()] == ["a.csv"]
    assert (folder / "a.csv").read_text() == "old"


def test_two_files_of_one_name_must_be_the_same(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"y/a\.csv: a\.csv is taken by a file with other content"):
        raw.add(tmp_path / "raw", [write(tmp_path / "x" / "a.csv", "1"), write(tmp_path / "y" / "a.csv", "2")])
    raw.add(tmp_path / "raw", [tmp_path / "x" / "a.csv", write(tmp_path / "z" / "a.csv", "1")])


@pytest.mark.parametrize("name", ["notes.txt", ".a.csv", "csv", "a.gz", "a.csv.zip"])
def test_unsupported_files_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"is not a kind of file that Finetide reads .*\n  fix: convert it"):
        raw.add(tmp_path / "raw", [write(tmp_path / name)])


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.csv: no such file"):
        raw.add(tmp_path / "raw", [tmp_path / "gone.csv"])
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match=r"folder\.csv: is not a file"):
        raw.add(tmp_path / "raw", [tmp_path / "folder.csv"])


def test_a_copy_that_breaks_off_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: str, target: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        raw.add(tmp_path / "raw", [write(tmp_path / "a.csv")])
    assert list((tmp_path / "raw").iterdir()) == []


def test_a_pointer_is_beside_the_file_or_one_of_its_folders(tmp_path: Path) -> None:
    folder = tmp_path / "raw"
    beside = write(folder / "a.csv.dvc")
    assert raw.pointer(folder, "a.csv") == beside
    assert raw.pointer(folder, "year/b.csv") is None
    of_folder = write(folder / "year.dvc")
    assert raw.pointer(folder, "year/b.csv") == of_folder
    of_raw = write(tmp_path / "raw.dvc")
    assert raw.pointer(folder, "c.csv") == of_raw
    write(tmp_path.parent / f"{tmp_path.name}.dvc")
    of_raw.unlink()
    assert raw.pointer(folder, "c.csv") is None
