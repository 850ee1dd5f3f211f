"""Late labels are joined on trial before their file is pinned."""

from __future__ import annotations

from pathlib import Path

import pytest

from finetide.config.ingest import ColumnParams, IngestParams
from finetide.contracts.window import Window, WindowFile
from finetide.data.ingest import SOURCE
from finetide.errors import DataError
from finetide.files import sha256_file, tree_hashes
from finetide.lifecycle import prepare, trial
from finetide.pipeline import dvc
from finetide.registry.window import read_window
from support.project import edit_params
from support.registry import MODEL

PARAMS = IngestParams(columns=ColumnParams(text="text", label="label", split=None, group=None), encoding="auto")


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def window(raw: Path, **roles: str) -> Window:
    files = [{"path": f"{name}.csv", "sha256": sha256_file(raw / f"{name}.csv"), "role": role}
             for name, role in roles.items()]  # fmt: skip
    return Window(model="mail", start="base", champion=None, files=tuple(map(WindowFile.model_validate, files)))


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    write(tmp_path / "raw" / "base.csv", "text,label\nhello,greeting\nbye,parting\n")
    write(tmp_path / "raw" / "may.csv", "text\nhow are you\nsee you\n")
    return tmp_path / "raw"


def join(raw: Path, known: Window, **given: Path) -> None:
    trial.join(known, raw, {f"{name}.csv": path for name, path in given.items()}, SOURCE, PARAMS)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("may.csv:9,greeting", r"line 2: no row has the id may\.csv:9"),
        ("base.csv:2,parting", r"line 2: base\.csv:2 has the label greeting already, this says parting"),
        ("may.csv:2,", r"line 2: no label for may\.csv:2"),
    ],
)
def test_labels_that_cannot_be_joined_are_refused_and_nothing_is_left_behind(
    raw: Path, tmp_path: Path, lines: str, said: str
) -> None:
    late = write(tmp_path / "given" / "late.csv", f"row_id,label\n{lines}\n")
    before = tree_hashes(tmp_path)
    with pytest.raises(DataError, match=rf"^late\.csv: has labels that cannot be joined:\n  {said}"):
        join(raw, window(raw, base="reference", may="incoming"), late=late)
    assert tree_hashes(tmp_path) == before


def test_labels_that_fit_pass_and_so_do_those_for_rows_that_come_with_them(raw: Path, tmp_path: Path) -> None:
    late = write(tmp_path / "late.csv", "row_id,label\nmay.csv:2,greeting\njune.csv:2,parting\n")
    june = write(tmp_path / "june.csv", "text\nso long\n")
    known = window(raw, base="reference", may="incoming")
    join(raw, known, late=late, june=june)
    with pytest.raises(DataError, match=r"no row has the id june\.csv:2"):
        join(raw, known, late=late)


def test_labels_for_rows_of_an_excluded_file_are_left(raw: Path, tmp_path: Path) -> None:
    late = write(tmp_path / "late.csv", "row_id,label\nmay.csv:9,greeting\n")
    join(raw, window(raw, base="reference", may="excluded"), late=late)


def test_a_fault_of_another_file_is_left_to_the_run(raw: Path, tmp_path: Path) -> None:
    write(raw / "old.csv", "row_id,label\nnowhere.csv:2,greeting\n")
    late = write(tmp_path / "late.csv", "row_id,label\nmay.csv:2,greeting\n")
    known = window(raw, base="reference", may="incoming", old="incoming")
    join(raw, known, late=late)
    (raw / "late.csv.tsv").write_text("row_id\tlabel\nnowhere.csv:2\tgreeting\n")
    file = WindowFile(path="late.csv.tsv", sha256=sha256_file(raw / "late.csv.tsv"), role="incoming")
    alike = window(raw, base="reference", may="incoming")
    join(raw, alike.model_copy(update={"files": (*alike.files, file)}), late=late)
    wrong = write(tmp_path / "wrong.csv", "row_id,label\nmay.csv:9,greeting\n")
    with pytest.raises(DataError, match=r"wrong\.csv"):
        join(raw, window(raw, base="reference", may="incoming"), wrong=wrong)


def test_advance_pins_no_labels_that_cannot_be_joined(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dvc, "checked", lambda *_, **__: None)
    edit_params(root, lambda model: model["ingest"]["columns"].update(label="label"), MODEL)
    write(root / "data" / MODEL / "raw" / "june.csv", "text\nso long\n")
    prepare.advance_window(root, MODEL, ())
    before = read_window(root, MODEL)
    late = write(tmp_path / "late.csv", "row_id,label\njune.csv:3,parting\n")
    said = (
        r"late\.csv: has labels that cannot be joined:\n  line 2: no row has the id june\.csv:3\n"
        r"  fix: correct the lines; a row id is FILE:LINE\. If the window has the file already: finetide exclude MODEL "
        r"FILE, and bring the corrected lines under another name"
    )
    with pytest.raises(DataError, match=said):
        prepare.advance_window(root, MODEL, [late])
    assert read_window(root, MODEL) == before
    assert not (root / "data" / MODEL / "raw" / "late.csv").exists()
    late.write_text("row_id,label\njune.csv:2,parting\n")
    assert prepare.advance_window(root, MODEL, [late])[0] == "late.csv: new, incoming"
