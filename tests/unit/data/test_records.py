from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetide.data.records import Records, read_records
from finetide.errors import DataError

WANTED = ("text", "label")


def read(folder: Path, name: str, content: str | bytes) -> Records:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return plainly(read_records(path, name=name, wanted=WANTED, encoding="auto"))


def plainly(found: Records) -> Records:
    """Lists instead of Arrow's columns, so that they compare."""
    plain = {column: cells if isinstance(cells, list) else cells.to_pylist() for column, cells in found.values.items()}
    return Records(found.names, list(found.lines), plain)


def refusal(folder: Path, name: str, content: str | bytes) -> str:
    with pytest.raises(DataError) as caught:
        read(folder, name, content)
    return str(caught.value)


def test_lines_are_those_where_csv_records_start(tmp_path: Path) -> None:
    found = read(tmp_path, "a.csv", 'text,label,more\n"one\ntwo",a,1\n\nthree,b,2\n"say ""hi""",c,3\n')
    assert found.lines == [2, 5, 6]
    assert found.values == {"text": ["one\ntwo", "three", 'say "hi"'], "label": ["a", "b", "c"]}
    assert found.names == ["text", "label", "more"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_line_end_counts_as_one_line(tmp_path: Path, end: str) -> None:
    found = read(tmp_path, "a.csv", end.join(["text,label", "a,b", '"c', 'd",e', "f,g"]))
    assert found.lines == [2, 3, 5]
    assert found.values["text"] == ["a", f"c{end}d", "f"]


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_semicolons_and_tabs_are_found_from_the_header(tmp_path: Path, delimiter: str) -> None:
    content = f"text{delimiter}label\nyes, really{delimiter}a\n"
    assert read(tmp_path, "a.csv", content).values == {"text": ["yes, really"], "label": ["a"]}


def test_a_tsv_file_has_tabs_whatever_its_header_looks_like(tmp_path: Path) -> None:
    assert read(tmp_path, "a.tsv", "text\tlabel\tx,y\na,b\tc\td\n").values["text"] == ["a,b"]


def test_a_single_column_is_fine(tmp_path: Path) -> None:
    assert read(tmp_path, "a.csv", "text\nhello\n").values == {"text": ["hello"]}


def test_rows_of_a_wrong_shape_are_reported_together(tmp_path: Path) -> None:
    message = refusal(tmp_path, "a.csv", 'text,label\na,b\na\na,b,c\n"a"x,b\nfine,b\n"never closed,b\n')
    assert message.startswith("a.csv: has rows of a wrong shape:")
    assert "line 3: 1 fields, the header has 2" in message
    assert "line 4: 3 fields, the header has 2" in message
    assert "line 5: a closing quote is followed by neither ',' nor the end of the line" in message
    assert "line 7: a quote that opens in this row is never closed" in message
    assert "line 6" not in message


def test_the_first_twenty_of_many_are_listed_and_all_are_counted(tmp_path: Path) -> None:
    message = refusal(tmp_path, "a.csv", "text,label\n" + "a\n" * 25)
    assert message.count("1 fields") == 20
    assert "… and 5 more" in message


def test_texts_of_any_length_are_read_and_the_csv_modules_limit_is_left_alone(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    assert len(read(tmp_path, "a.csv", f"text,label\n{'x' * 300_000},a\n").values["text"][0]) == 300_000
    assert csv.field_size_limit() == before


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
@pytest.mark.parametrize("content", ["", "\n\n  \n"])
def test_empty_files_are_refused(tmp_path: Path, name: str, content: str) -> None:
    assert f"{name}: is empty\n  fix: put rows into it, or leave it out" in refusal(tmp_path, name, content)


def test_files_with_columns_and_no_rows_are_refused(tmp_path: Path) -> None:
    assert "a.csv: has columns but no rows (found 'text, label')" in refusal(tmp_path, "a.csv", "text,label\n")
    pd.DataFrame({"text": pd.Series([], dtype=str)}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a.parquet: has columns but no rows"):
        read_records(tmp_path / "a.parquet", name="a.parquet", wanted=WANTED, encoding="auto")


def test_columns_of_the_same_name_are_refused(tmp_path: Path) -> None:
    assert "a.csv: has columns of the same name (found 'text')" in refusal(tmp_path, "a.csv", "text,text\na,b\n")


def test_columns_without_a_name_do_no_harm(tmp_path: Path) -> None:
    assert read(tmp_path, "a.csv", ",text,\n1,a,\n").values == {"text": ["a"]}


def test_jsonl_lines_are_physical_lines(tmp_path: Path) -> None:
    found = read(tmp_path, "a.jsonl", '{"text": "a\\nb\u2028c", "n": 1}\r\n\n{"text": null, "label": 3}\n')
    assert found.lines == [1, 3]
    assert found.values == {"text": ["a\nb\u2028c", None], "label": [None, 3]}
    assert found.names == ["text", "n", "label"]


def test_bad_json_lines_are_reported_together(tmp_path: Path) -> None:
    lines = ['{"text": "a"}', "{text}", '["a"]', '"a"', "null", "1", "true", '{"text": NaN}', '{"a": 1, "a": 2}']
    message = refusal(tmp_path, "a.ndjson", "\n".join(lines))
    assert message.startswith("a.ndjson: has lines that are no JSON object:")
    for expected in (
        "line 2: Expecting property name",
        "line 3: is a JSON array",
        "line 4: is a JSON string",
        "line 5: is a JSON null",
        "line 6: is a JSON number",
        "line 7: is a JSON boolean",
        "line 8: NaN is not JSON; write null",
        "line 9: has the key 'a' twice",
    ):
        assert expected in message


def test_parquet_rows_are_counted_from_one(tmp_path: Path) -> None:
    pd.DataFrame({"text": ["a", None], "label": [1.0, 2.5], "more": [0, 0]}).to_parquet(tmp_path / "a.pq")
    found = plainly(read_records(tmp_path / "a.pq", name="a.pq", wanted=WANTED, encoding="auto"))
    assert found.lines == [1, 2]
    assert found.values == {"text": ["a", None], "label": [1.0, 2.5]}


def test_truncated_parquet_files_are_refused(tmp_path: Path) -> None:
    pd.DataFrame({"text": ["a"] * 500}).to_parquet(tmp_path / "whole.parquet")
    data = (tmp_path / "whole.parquet").read_bytes()
    assert "a.parquet: is a damaged or truncated Parquet file" in refusal(tmp_path, "a.parquet", data[:-20])
    assert "a.parquet: is a damaged or truncated Parquet file" in refusal(tmp_path, "a.parquet", b"")


def test_missing_files_are_named(tmp_path: Path) -> None:
    for name in ("a.csv", "a.parquet"):
        with pytest.raises(DataError, match=f"{name}: cannot be read: No such file"):
            read_records(tmp_path / name, name=name, wanted=WANTED, encoding="auto")


@pytest.mark.parametrize(("name", "suffix"), [("a.xlsx", ".xlsx"), ("a.parquet.gz", ".parquet.gz"), ("rows", "")])
def test_unknown_formats_are_refused_with_the_known_ones(tmp_path: Path, name: str, suffix: str) -> None:
    message = refusal(tmp_path, name, "text\na\n")
    assert f"{name}: is not a kind of file that Finetide reads (.csv, " in message
    assert f"(found {suffix!r})" in message
    assert "(.csv, .tsv, .jsonl, .ndjson, each also .gz; .parquet, .pq)" in message


@given(st.lists(st.text(st.sampled_from('ab",;\n\r\t é\u2028'), min_size=1, max_size=12), min_size=1, max_size=8))
@settings(max_examples=100, deadline=None)
def test_every_csv_record_comes_back_with_the_line_where_it_starts(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    content, starts = "text,label\n", []
    for text in texts:
        lines = content.replace("\r\n", "\n").replace("\r", "\n").count("\n")
        starts.append(lines + 1)
        record = io.StringIO(newline="")
        csv.writer(record, lineterminator="\n", quoting=csv.QUOTE_ALL).writerow([text, "a"])
        content += record.getvalue()
    found = read(tmp_path_factory.mktemp("csv"), "a.csv", content)
    assert found.values["text"] == texts
    assert found.lines == starts


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=9), min_size=1))
@settings(max_examples=60, deadline=None)
def test_every_json_line_comes_back(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    content = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
    found = read(tmp_path_factory.mktemp("jsonl"), "a.jsonl", content)
    assert found.values["text"] == texts
    assert found.lines == list(range(1, len(texts) + 1))
