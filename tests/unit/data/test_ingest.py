from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from pydantic import ValidationError

from finetide.config.ingest import ColumnParams, IngestParams
from finetide.contracts.window import Window, WindowFile
from finetide.data.ingest import examine, ingest
from finetide.errors import DataError, IntegrityError
from finetide.files import sha256_file

PARAMS = IngestParams(columns=ColumnParams(text="text", label="label", split=None, group=None), encoding="auto")
FileRole = Literal["reference", "incoming", "excluded"]


class Raw:
    """A raw folder and the window of what lies in it, in the order of being added."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: list[WindowFile] = []

    def add(self, name: str, content: str, role: FileRole = "reference") -> Raw:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        self.files.append(WindowFile(path=name, sha256=sha256_file(path), role=role))
        return self

    @property
    def window(self) -> Window:
        return Window(model="mail", start="base", champion=None, files=tuple(self.files))


@pytest.fixture
def raw(tmp_path: Path) -> Raw:
    return Raw(tmp_path)


def test_rows_come_in_the_order_of_the_window_and_excluded_files_are_left_out(raw: Raw) -> None:
    raw.add("z.csv", "text,label\none,a\ntwo,b\n").add("bad.csv", "no such column\n", "excluded")
    raw.add("new/a.jsonl", '{"text": "three"}\n', "incoming")

    done = ingest(raw.window, raw.folder, PARAMS)

    assert done.rows["row_id"].tolist() == ["z.csv:2", "z.csv:3", "new/a.jsonl:1"]
    assert done.rows["role"].tolist() == ["reference", "reference", "incoming"]
    report = done.report()
    assert report.files == {"z.csv": 2, "new/a.jsonl": 1}
    assert (report.rows, report.reference, report.incoming, report.labelled) == (3, 2, 1, 2)


def test_a_window_without_files_gives_no_rows(raw: Raw) -> None:
    assert ingest(raw.window, raw.folder, PARAMS).report().rows == 0


def test_a_missing_file_is_named_with_what_brings_it_back(raw: Raw) -> None:
    raw.add("a.csv", "text,label\none,a\n")
    (raw.folder / "a.csv").unlink()
    with pytest.raises(DataError) as caught:
        ingest(raw.window, raw.folder, PARAMS)
    assert "a.csv: is missing, but the window names it" in str(caught.value)
    assert "`dvc checkout` brings it back; after adding or moving files, `finetide run`" in str(caught.value)


def test_a_file_with_other_bytes_than_pinned_is_refused(raw: Raw) -> None:
    raw.add("a.csv", "text,label\none,a\n")
    (raw.folder / "a.csv").write_text("text,label\none,b\n")
    with pytest.raises(IntegrityError, match=r"a.csv: is not the file that the window pinned \(sha256 .*found 'sha256"):
        ingest(raw.window, raw.folder, PARAMS)


@pytest.mark.parametrize("path", ["../a.csv", "/etc/hosts", "x/../../a.csv"])
def test_a_path_outside_the_raw_folder_is_refused(path: str) -> None:
    with pytest.raises(ValidationError, match="must stay inside data/MODEL/raw"):
        WindowFile(path=path, sha256="0" * 64, role="reference")


def test_a_file_listed_twice_is_refused(raw: Raw) -> None:
    raw.add("a.csv", "text,label\none,a\n").add("a.csv", "text,label\none,a\n", "incoming")
    with pytest.raises(DataError, match=r"window.json: names a file twice \(found 'a.csv'\)"):
        ingest(raw.window, raw.folder, PARAMS)


def test_late_labels_join_by_row_id(raw: Raw) -> None:
    raw.add("a.csv", "text,label\none,a\n").add("b.csv", "text\ntwo\nthree\n", "incoming")
    raw.add("labels.csv", "row_id,label,who\nb.csv:3,b,me\na.csv:2,a,me\n", "incoming")

    done = ingest(raw.window, raw.folder, PARAMS)

    assert done.rows["row_id"].tolist() == ["a.csv:2", "b.csv:2", "b.csv:3"]
    assert done.rows["label"].tolist()[::2] == ["a", "b"]
    assert done.rows["label"].isna().tolist() == [False, True, False]
    assert done.report().files == {"a.csv": 1, "b.csv": 2, "labels.csv": 2}
    assert done.report().labelled == 2


def test_late_labels_may_come_before_their_rows_in_the_window(raw: Raw) -> None:
    raw.add("labels.jsonl", '{"row_id": "b.csv:2", "label": 3}\n').add("b.csv", "text\ntwo\n", "incoming")
    assert ingest(raw.window, raw.folder, PARAMS).rows["label"].tolist() == ["3"]


def test_late_labels_without_a_place_are_refused_by_line(raw: Raw) -> None:
    raw.add("a.csv", "text,label\none,a\n").add("b.csv", "text\ntwo\n", "incoming")
    raw.add("labels.csv", "row_id,label\nb.csv:9,b\na.csv:2,b\nb.csv:2,\n,b\nb.csv:2,b\nb.csv:2,c\n", "incoming")
    with pytest.raises(DataError) as caught:
        ingest(raw.window, raw.folder, PARAMS)
    message = str(caught.value)
    assert message.startswith("labels.csv: has labels that cannot be joined:")
    assert "line 2: no row has the id b.csv:9" in message
    assert "line 3: a.csv:2 has the label a already, this says b" in message
    assert "line 4: no label for b.csv:2" in message
    assert "line 5: no row has the id (missing)" in message
    assert "line 6" not in message
    assert "line 7: b.csv:2 has the label b already, this says c" in message


def test_late_labels_for_an_excluded_file_are_left(raw: Raw) -> None:
    raw.add("a.csv", "text,label\none,a\n").add("b.csv", "text\ntwo\n", "excluded")
    raw.add("labels.csv", "row_id,label\nb.csv:2,b\n", "incoming")
    assert ingest(raw.window, raw.folder, PARAMS).rows["label"].tolist() == ["a"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("body,y\na,1\nb,0\n", ["may.csv: has no column 'side': its 2 rows are split by their content"]),
        ("body,y,side\na,1,\n", ["may.csv: gives no value in column 'side': its 1 rows are split by their content"]),
        (
            "body,y,side\na,1,train\nb,0,Training\n",
            [
                "may.csv: all 2 rows are given as train, and stay there if other files give validation and test rows: "
                "how the model does on them would not be measured"
            ],
        ),
        ("body,y,side\na,1,train\nb,0,dev\n", []),
        ("body,y,side\na,1,train\nb,0,\n", []),
        ("row_id,y\nx.csv:2,1\n", []),
    ],
)
def test_what_becomes_of_a_new_files_rows_is_told(tmp_path: Path, text: str, said: list[str]) -> None:
    path = tmp_path / "may.csv"
    path.write_text(text)
    columns = ColumnParams(text="body", label="y", split="side", group=None)
    assert examine(path, "may.csv", IngestParams(columns=columns, encoding="auto")).told == tuple(said)
    plain = ColumnParams(text="body", label="y", split=None, group=None)
    assert examine(path, "may.csv", IngestParams(columns=plain, encoding="auto")).told == ()


ROWS = "text,label\none,a\ntwo,b\n"
OPEN = 'text\nthree\n"four\nlines"\nfive\n'


def asked(raw: Raw, *lines: str) -> Raw:
    raw.add("known.csv", ROWS).add("new.csv", OPEN, "incoming")
    return raw.add(
        "ask.csv", "row_id,text,suggested_label,label\n" + "".join(f"{line}\n" for line in lines), "incoming"
    )


def test_a_filled_in_request_joins_by_row_id_and_what_is_empty_stays_unlabelled(raw: Raw) -> None:
    """Whatever the order of its lines, and with line ends of another editor within a text."""
    found = ingest(asked(raw, "new.csv:5,five,a,b", 'new.csv:3,"four\r\nlines",a,', "new.csv:2,three,b,a").window,
                   raw.folder, PARAMS).rows  # fmt: skip
    assert found["row_id"].tolist() == ["known.csv:2", "known.csv:3", "new.csv:2", "new.csv:3", "new.csv:5"]
    assert [label if isinstance(label, str) else None for label in found["label"]] == ["a", "b", "a", None, "b"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "gone.csv:7,three,a,a",
            r"ask.csv: has labels that cannot be joined:\n  line 2: no row has the id gone.csv:7",
        ),
        ("new.csv:2,other,a,a", r"line 2: the text of new.csv:2 is not the one that was sent out: other"),
        (
            "new.csv:2,three,a,A",
            r"line 2: no row has the label A; near: a\n  fix: correct the lines; .*\. A label that is",
        ),
        ("new.csv:2,three,a,zzz", r"line 2: no row has the label zzz\n"),
        ("known.csv:2,one,a,b", r"line 2: known.csv:2 has the label a already, this says b"),
    ],
    ids=["unknown id", "changed text", "near label", "unknown label", "other label"],
)
def test_a_request_that_does_not_fit_is_refused_by_line(raw: Raw, line: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        ingest(asked(raw, line).window, raw.folder, PARAMS)


def test_a_request_that_lost_its_label_column_is_no_file_of_new_rows(raw: Raw) -> None:
    raw.add("known.csv", ROWS).add("new.csv", OPEN, "incoming")
    raw.add("ask.csv", "row_id,text,suggested_label\nnew.csv:2,three,a\n", "incoming")
    said = (
        r"ask.csv: is a label request without the column 'label' \(found 'row_id, text, suggested_label'\)\n"
        r"  fix: fill in the column 'label' that finetide label-requests wrote"
    )
    with pytest.raises(DataError, match=said):
        ingest(raw.window, raw.folder, PARAMS)
    with pytest.raises(DataError, match=said):  # before `advance` has pinned it, too
        examine(raw.folder / "ask.csv", "ask.csv", PARAMS)


def test_a_label_that_is_new_comes_in_a_table_without_suggestions(raw: Raw) -> None:
    raw.add("known.csv", ROWS).add("new.csv", OPEN, "incoming")
    raw.add("late.csv", "row_id,label\nnew.csv:2,zzz\n", "incoming")
    assert "zzz" in set(ingest(raw.window, raw.folder, PARAMS).rows["label"].dropna())
