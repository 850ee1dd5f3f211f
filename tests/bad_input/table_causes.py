"""The files of rows: what a person can hand in, and what can happen to them afterwards."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bad_input.cause import Cause, Place
from support.messages import rows, write_csv
from support.project import MODEL, edit_params

INIT = (
    "init", "{root}", "--task", "text-classification", "--name", MODEL,
    "--text", "body", "--label", "intent", "--base", "{folder}/micro-base",
)  # fmt: skip
RUN = ("run", MODEL)
# What the stages before the gate may leave behind when the gate stays shut.
STAGES = ("artifacts", "dvc.lock")
Arrange = Callable[[Place], None]


def init(name: str, *more: str) -> tuple[str, ...]:
    """``finetide init`` with ``name`` as the reference file."""
    return (*INIT, "--reference", f"{{folder}}/{name}", *more)


def advance(name: str) -> tuple[str, ...]:
    return ("advance", MODEL, f"{{folder}}/{name}")


def data(name: str, content: bytes | str) -> Arrange:
    """A file beside the project."""
    return lambda place: _write(place.folder / name, content)


def table(change: Callable[[list[dict[str, str]]], object], name: str = "new.csv") -> Arrange:
    """A good table of 30 rows, then changed in place, as a CSV file beside the project."""

    def arrange(place: Place) -> None:
        made = rows(30, "shop", 5)
        change(made)
        write_csv(place.folder / name, made)

    return arrange


def jsonl(name: str, *lines: str) -> Arrange:
    """Twenty good lines, then ``lines``."""
    good = [json.dumps(row) for row in rows(20, "shop", 5)]
    return data(name, "".join(f"{line}\n" for line in [*good, *lines]))


def raw(name: str = "shop.csv") -> Callable[[Place], Path]:
    return lambda place: place.root / "data" / MODEL / "raw" / name


def reference(change: Callable[[list[dict[str, str]]], object], count: int = 90) -> Arrange:
    """A project as init would have written it on a reference table that was changed first: file, pin and pointer."""

    def arrange(place: Place) -> None:
        made = rows(count, "shop", 1)
        change(made)
        write_csv(raw()(place), made)
        _pin(place)

    return arrange


def everywhere(**values: str) -> Arrange:
    """Every row of both files of the project has these values."""

    def arrange(place: Place) -> None:
        for name, domain, seed in (("shop.csv", "shop", 1), ("airline.csv", "airline", 2)):
            made = rows(90, domain, seed)
            each(**values)(made)
            write_csv(raw(name)(place), made)
        _pin(place)

    return arrange


def _pin(place: Place) -> None:
    """Let the window name the bytes that lie there, and take DVC's pointers away, for they name others."""
    from finetide.files import sha256_file

    window = place.root / "data" / MODEL / "window.json"
    document = json.loads(window.read_text())
    for file in document["files"]:
        path = raw(file["path"])(place)
        file["sha256"] = sha256_file(path)
        path.with_name(path.name + ".dvc").unlink(missing_ok=True)
    window.write_text(json.dumps(document, sort_keys=True, indent=2) + "\n")


def _write(path: Path, content: bytes | str) -> None:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def _text(count: int = 20) -> str:
    """A good CSV file as text."""
    return "body,intent\n" + "".join(f"{row['body']},{row['intent']}\n" for row in rows(count, "shop", 5))


def each(**values: str) -> Callable[[list[dict[str, str]]], None]:
    """Give every row these values."""

    def change(made: list[dict[str, str]]) -> None:
        for row in made:
            row.update(values)

    return change


def rename(old: str, new: str) -> Callable[[list[dict[str, str]]], None]:
    def change(made: list[dict[str, str]]) -> None:
        for row in made:
            row[new] = row.pop(old)

    return change


def numbers(made: list[dict[str, str]]) -> None:
    for row in made:
        row["intent"] = str(len(row["intent"]))


def _mixed(place: Place) -> None:
    head, tail = _text(10), "café still closed please,delivery\n"
    _write(place.folder / "new.csv", head.encode() + tail.encode() + tail.encode("cp1252"))


def _gz(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def _parquet(place: Place) -> None:
    path = place.folder / "new.parquet"
    pq.write_table(pa.table({"body": ["my parcel"] * 50, "intent": ["delivery"] * 50}), path)
    _write(path, path.read_bytes()[:-40])


def _nested_parquet(place: Place) -> None:
    pq.write_table(pa.table({"body": [["my", "parcel"]] * 3, "intent": ["a"] * 3}), place.folder / "new.parquet")


def _parquet_gz(place: Place) -> None:
    path = place.folder / "new.parquet.gz"
    pq.write_table(pa.table({"body": ["my parcel"], "intent": ["delivery"]}), path)
    _write(path, _gz(path.read_bytes()))


def _hundred_megabytes(place: Place) -> None:
    _write(place.folder / "new.csv", _text(3).encode() + b"parcel " * (100_000_000 // 7) + b",delivery\n")


def _other_bytes(place: Place) -> None:
    (place.folder / "other").mkdir()
    write_csv(place.folder / "other" / "shop.csv", rows(10, "shop", 9))


def _gone(place: Place) -> None:
    path = raw()(place)
    path.unlink()
    path.with_name("shop.csv.dvc").unlink()


def _altered(place: Place) -> None:
    with raw()(place).open("a") as stream:
        stream.write("one more parcel,delivery,train\n")


def _dropped(place: Place) -> None:
    _write(raw("week-2.csv")(place), "body,intent,side\nmy parcel,delivery\n")


def _same_names(place: Place) -> None:
    (place.folder / "two").mkdir()
    shutil.copy(place.folder / "airline.csv", place.folder / "two" / "shop.csv")


def validate(**values: Any) -> Arrange:
    return lambda place: edit_params(place.root, lambda p: p["validate"].update(**values))


def ingest(**values: Any) -> Arrange:
    return lambda place: edit_params(place.root, lambda p: p["ingest"].update(**values))


def both(first: Arrange, second: Arrange) -> Arrange:
    def arrange(place: Place) -> None:
        first(place)
        second(place)

    return arrange


def _first(made: list[dict[str, str]], count: int, **values: str) -> None:
    each(**values)(made[:count])


def _only_in_test(made: list[dict[str, str]]) -> None:
    each(intent="returns")([row for row in made if row["side"] == "test"])


def _late(place: Place) -> None:
    _write(place.folder / "late.csv", "row_id,intent\nairline.csv:2,delivery\nairline.csv:999,money\n")
    shutil.copy(place.folder / "late.csv", raw("late.csv")(place))
    window = place.root / "data" / MODEL / "window.json"
    document = json.loads(window.read_text())
    document["files"].append({"path": "late.csv", "role": "incoming", "sha256": "0" * 64})
    window.write_text(json.dumps(document))
    _pin(place)


SUPPORTED = ".csv, .tsv, .jsonl, .ndjson, each also .gz; .parquet, .pq"
COLUMNS = [
    Cause("missing column", "the text column has another name", init("new.csv"),
          table(rename("body", "Body")), 2,
          ("new.csv", "has no column 'body' (text), did you mean 'Body'?", "--text"), start="empty"),
    Cause("missing column", "the label column of new data is misspelled", advance("new.csv"),
          table(rename("intent", "intnet")), 2,
          ("{folder}/new.csv", "has no column 'intent' (label), did you mean 'intnet'?", "ingest.columns")),
    Cause("missing column", "the group column is not there", init("new.csv", "--group-col", "customer"),
          table(lambda _: None), 2,
          ("new.csv", "has no column 'customer' (group)", "(found 'body, intent, side')", "--group-col"),
          start="empty"),
    Cause("missing column", "a delimiter that is not known: one column is seen", init("new.csv"),
          data("new.csv", _text().replace(",", "|")), 2,
          ("new.csv", "has no column 'body' (text); 'intent' (label)", "(found 'body|intent')"), start="empty"),
    Cause("same name twice", "two columns of one name", advance("new.csv"),
          data("new.csv", "body,intent,body\nmy parcel,delivery,x\n"), 2,
          ("{folder}/new.csv", "has columns of the same name", "(found 'body')", "rename one of them")),
    Cause("empty file", "no byte at all", init("new.csv"), data("new.csv", ""), 2,
          ("new.csv", "is empty", "put rows into it, or leave it out"), start="empty"),
    Cause("empty file", "blank lines only", advance("new.csv"), data("new.csv", "\n\n  \n"), 2,
          ("{folder}/new.csv", "is empty")),
    Cause("empty file", "a header and no row", advance("new.csv"), data("new.csv", "body,intent,side\n"), 2,
          ("{folder}/new.csv", "has columns but no rows", "(found 'body, intent, side')")),
]  # fmt: skip
SHAPE = [
    Cause("row of a wrong shape", "a row with a field too few", advance("new.csv"),
          data("new.csv", _text(5) + "no label here\n"), 2,
          ("{folder}/new.csv", "line 7: 1 fields, the header has 2", "correct these lines")),
    Cause("row of a wrong shape", "a text with a comma and no quotes", init("new.csv"),
          data("new.csv", _text(5) + "my parcel, please,delivery\n"), 2,
          ("new.csv", "line 7: 3 fields, the header has 2"), start="empty"),
    Cause("row of a wrong shape", "a quote that is never closed", advance("new.csv"),
          data("new.csv", _text(5) + '"my parcel,delivery\nmy refund,money\n'), 2,
          ("{folder}/new.csv", "line 7: a quote that opens in this row is never closed")),
    Cause("row of a wrong shape", "text after a closing quote", advance("new.csv"),
          data("new.csv", _text(5) + '"my "parcel" please",delivery\n'), 2,
          ("{folder}/new.csv", "line 7: a closing quote is followed by neither ','", "write a quote as two")),
    Cause("row of a wrong shape", "a line of 100 MB", advance("new.csv"), _hundred_megabytes, 2,
          ("{folder}/new.csv", "has texts of more than 1,000,000 characters", "line 5: ", "cut these texts")),
    Cause("row of a wrong shape", "a file dropped into the raw folder with a row too short", RUN, _dropped, 2,
          ("data/mail/raw/week-2.csv", "line 2: 2 fields, the header has 3")),
]  # fmt: skip
BYTES = [
    Cause("encoding", "two encodings in one file", advance("new.csv"), _mixed, 2,
          ("{folder}/new.csv", "has bytes that are not UTF-8", "line 13: bytes e9", "ingest.encoding")),
    Cause("encoding", "NUL bytes in a row", advance("new.csv"),
          data("new.csv", _text(5) + "my \0\0parcel,delivery\n"), 2,
          ("{folder}/new.csv", "has NUL characters", "line 7: 2 NUL characters", "init --encoding utf-16")),
    Cause("encoding", "UTF-16 without a byte-order mark", init("new.csv"),
          data("new.csv", _text().encode("utf-16-le")), 2,
          ("new.csv", "is UTF-16 without a byte-order mark, it seems", "save the file as UTF-8",
           "init --encoding utf-16"), start="empty"),
    Cause("encoding", "UTF-16 while ingest.encoding says utf-8", RUN,
          both(reference(lambda _: None),
               both(lambda place: _write(raw()(place), raw()(place).read_text().encode("utf-16")),
                    both(_pin, ingest(encoding="utf-8")))), 2,
          ("shop.csv", "has bytes that are not UTF-8", "it says utf-8 now"), harmless=(*STAGES, "data")),
    Cause("damaged file", "a gzip file that ends too early", advance("new.csv.gz"),
          data("new.csv.gz", _gz(_text(200).encode())[:-200]), 2,
          ("{folder}/new.csv.gz", "is a damaged or truncated gzip file", "copy or download the file again")),
    Cause("damaged file", "a name that ends in .gz on a file that is not packed", advance("new.csv.gz"),
          data("new.csv.gz", _text()), 2,
          ("{folder}/new.csv.gz", "is a damaged or truncated gzip file", "Not a gzipped file",
           "take .gz off its name")),
    Cause("damaged file", "a Parquet file that ends too early", advance("new.parquet"), _parquet, 2,
          ("{folder}/new.parquet", "is a damaged or truncated Parquet file", "copy or download the file again")),
    Cause("damaged file", "a CSV file under the name of a Parquet file", init("new.parquet"),
          data("new.parquet", _text()), 2,
          ("new.parquet", "is a damaged or truncated Parquet file"), start="empty"),
]  # fmt: skip
JSONL = [
    Cause("JSON lines", "a line that breaks off", advance("new.jsonl"), jsonl("new.jsonl", '{"body": "my par'), 2,
          ("{folder}/new.jsonl", "line 21: Unterminated string", "correct these lines")),
    Cause("JSON lines", "an array as a row", advance("new.jsonl"), jsonl("new.jsonl", '["my parcel", "delivery"]'), 2,
          ("{folder}/new.jsonl", "line 21: is a JSON array")),
    Cause("JSON lines", "a text that is an object", advance("new.jsonl"),
          jsonl("new.jsonl", '{"body": {"subject": "parcel"}, "intent": "delivery", "side": "train"}'), 2,
          ("{folder}/new.jsonl", "has values in column 'body' that are no text", "line 21: dict")),
    Cause("JSON lines", "a key that stands twice in a row", advance("new.jsonl"),
          jsonl("new.jsonl", '{"body": "my parcel", "intent": "money", "intent": "delivery"}'), 2,
          ("{folder}/new.jsonl", "line 21: has the key 'intent' twice")),
    Cause("JSON lines", "NaN as a label", advance("new.jsonl"),
          jsonl("new.jsonl", '{"body": "my parcel", "intent": NaN}'), 2,
          ("{folder}/new.jsonl", "line 21: NaN is not JSON; write null")),
    Cause("JSON lines", "one JSON array under the name of JSON lines", init("new.jsonl"),
          data("new.jsonl", json.dumps(rows(3, "shop", 1), indent=1)), 2,
          ("new.jsonl", "is one JSON array of 3 objects, not one object a line", "jq -c"), start="empty"),
    Cause("value that is no text", "a list as a text in Parquet", advance("new.parquet"), _nested_parquet, 2,
          ("{folder}/new.parquet", "has values in column 'body' that are no text", "line 1: list")),
]  # fmt: skip
FILES = [
    Cause("kind of file", "an Excel workbook", advance("new.xlsx"), data("new.xlsx", b"PK\x03\x04"), 2,
          ("{folder}/new.xlsx", "is not a kind of file that Finetide reads", SUPPORTED, "convert it")),
    Cause("kind of file", "an Excel workbook at init", init("new.xlsx"), data("new.xlsx", b"PK\x03\x04"), 2,
          ("new.xlsx", "is not a kind of file that Finetide reads", "(found '.xlsx')"), start="empty"),
    Cause("kind of file", "Parquet packed once more", advance("new.parquet.gz"), _parquet_gz, 2,
          ("{folder}/new.parquet.gz", "is not a kind of file that Finetide reads", SUPPORTED)),
    Cause("kind of file", "an Excel workbook dropped into the raw folder", RUN,
          lambda place: _write(raw("week.xlsx")(place), b"PK"), 2,
          ("data/mail/raw/week.xlsx", "is not a kind of file", "move it out of this folder")),
    Cause("no such file", "a folder as a file", advance("two.csv"), lambda place: (place.folder / "two.csv").mkdir(), 2,
          ("{folder}/two.csv", "is not a file")),
    Cause("no such file", "a file that is not there", advance("weak-2.csv"), lambda _: None, 2,
          ("{folder}/weak-2.csv", "no such file")),
    Cause("no such file", "a reference file that is not there", init("shopp.csv"), lambda _: None, 2,
          ("{folder}/shopp.csv", "no such file"), start="empty"),
    Cause("name that is taken", "new rows under the name of an old file", advance("other/shop.csv"), _other_bytes, 2,
          ("{folder}/other/shop.csv", "shop.csv is taken by a file with other content", "give the new file another")),
    Cause("name that is taken", "two files of one name", init("shop.csv", "--incoming", "{folder}/two/shop.csv"),
          _same_names, 2, ("two files are named 'shop.csv'", "{folder}/two/shop.csv", "rename one"), start="empty"),
    Cause("raw file", "gone after it was pinned", RUN, _gone, 6,
          ("data/mail/raw/shop.csv", "is named in the window but is gone", "restore it", "finetide exclude")),
    Cause("raw file", "altered after it was pinned", RUN, _altered, 6,
          ("data/mail/raw/shop.csv", "changed after the window took it in",
           "delete it, and finetide run", "under another name")),
    Cause("raw file", "altered after it was pinned, met by the stage alone", ("stage", "ingest", MODEL), _altered, 6,
          ("shop.csv", "is not the file that the window pinned", "(found 'sha256 ", "delete it"),
          harmless=("artifacts",)),
]  # fmt: skip
SPLITS = [
    Cause("split column", "a word that names no split", advance("new.csv"),
          table(lambda made: _first(made, 2, side="holdout")), 2,
          ("{folder}/new.csv", "has values in column 'side' that name no split", "line 2: holdout", "line 3: holdout",
           "write train, validation")),
    Cause("split column", "every row is a test row", RUN, everywhere(side="test"), 3,
          ("empty side: no labelled row is on: train, validation", "bring more labelled rows"),
          harmless=(*STAGES, "data")),
    Cause("split column", "a label that has test rows only", RUN, reference(_only_in_test), 3,
          ("label without a training row", "returns (no train, no validation)", "shop.csv line 14"),
          harmless=(*STAGES, "data")),
]  # fmt: skip
LABELS = [
    Cause("labels", "numbers where validate.labels says words", RUN,
          both(reference(numbers), validate(labels=["delivery", "money", "account"])), 3,
          ("label set", "validate.labels does not have", "'8'"), harmless=(*STAGES, "data")),
    Cause("labels", "one label only", RUN,
          both(reference(each(intent="money")), lambda place: _incoming(place, "money")), 3,
          ("a classifier needs two labels; here is 1", "ingest.columns.label"), harmless=(*STAGES, "data")),
    Cause("labels", "a label of the new data that validate.labels does not have", RUN,
          validate(labels=["delivery", "money"]), 3,
          ("label set", "60 rows have a label that validate.labels does not have: 'account' (60)",
           "add it to validate.labels in params.yaml"), harmless=STAGES),
    Cause("labels", "a label spelled another way in the new data", RUN,
          lambda place: _incoming(place, "Moneyy"), 3,
          ("no reference row has: 'Moneyy' (90, did you mean 'money'?)", "correct the label"),
          harmless=(*STAGES, "data")),
    Cause("labels", "a reference without labels", RUN, reference(each(intent="")), 3,
          ("missing label", "90 rows have no label, and the role reference", "write the label, or delete the row"),
          harmless=(*STAGES, "data")),
    Cause("labels", "two labels for one text", RUN,
          reference(lambda made: _first(made, 20, body="where is my parcel please")), 3,
          ("conflicting labels", "20 rows have a text that has another label elsewhere", "shop.csv:2"),
          harmless=(*STAGES, "data")),
    Cause("labels", "late labels for a row that is not there", RUN, _late, 2,
          ("late.csv", "has labels that cannot be joined", "line 3: no row has the id airline.csv:999"),
          harmless=(*STAGES, "data")),
    Cause("quarantine", "every row is bad, and all may go", RUN,
          both(everywhere(body="  "), validate(max_quarantine_share=1.0)), 3,
          ("rows: no row is left to work with", "see the other findings"), harmless=(*STAGES, "data")),
    Cause("quarantine", "more empty texts than the share allows", RUN,
          reference(lambda made: _first(made, 30, body="")), 3,
          ("empty text", "30 rows have no text", "max_quarantine_share", "so none was quarantined"),
          harmless=(*STAGES, "data")),
]  # fmt: skip


def _incoming(place: Place, label: str) -> None:
    made = rows(90, "airline", 2)
    each(intent=label)(made)
    write_csv(raw("airline.csv")(place), made)
    _pin(place)


CAUSES = [*COLUMNS, *SHAPE, *BYTES, *JSONL, *FILES, *SPLITS, *LABELS]
