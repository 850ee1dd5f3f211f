"""The drop folder: what is whole comes in once, what is not waits, and what was dropped stays as it is."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from finetide.contracts.operate import Seen
from finetide.errors import DataError, IntegrityError, ToolError
from finetide.files import tree_hashes
from finetide.lifecycle import drop
from finetide.registry import raw
from finetide.registry.window import advance, read_window, window_path
from support.registry import MODEL

TABLE = "text,label\nwhere is it,delivery\n"


@pytest.fixture
def folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The drop folder of a project whose advance works without DVC; a file that says `bad` is refused."""

    def take(project: Path, model: str, files: list[Path]) -> list[str]:
        if "bad" in files[0].read_text():
            raise DataError("has no column 'text'", where=str(files[0]))
        return advance(project, model, files, "base")[1]

    monkeypatch.setattr(drop, "advance_window", take)
    made = root / "drop" / MODEL
    made.mkdir(parents=True)
    return made


def look(root: Path, meanwhile: Callable[[float], None] = lambda _: None) -> list[tuple[str, str, str]]:
    def show(one: Seen) -> tuple[str, str, str]:
        return one.name, one.outcome, one.why

    return [show(one) for one in drop.pick_up(root, root, MODEL, wait=meanwhile)]


def in_window(root: Path) -> list[str]:
    return [file.path for file in read_window(root, MODEL).files]


def test_a_whole_file_comes_in_once_and_stays_where_it_is(root: Path, folder: Path) -> None:
    (folder / "june.csv").write_text(TABLE)
    before = tree_hashes(folder)
    assert look(root) == [("june.csv", "taken", "june.csv: new, incoming")]
    assert in_window(root) == ["base.csv", "may.csv", "june.csv"]
    waited: list[float] = []
    assert look(root, waited.append) == []
    assert waited == []  # nothing new: nobody waits
    assert tree_hashes(folder) == before


def test_a_file_that_grows_between_the_looks_waits_for_the_next(root: Path, folder: Path) -> None:
    (folder / "june.csv").write_text(TABLE[:15])
    waited: list[float] = []

    def grow(seconds: float) -> None:
        waited.append(seconds)
        (folder / "june.csv").write_text(TABLE)

    assert look(root, grow) == []
    assert waited == [10.0]
    assert in_window(root) == ["base.csv", "may.csv"]
    assert look(root) == [("june.csv", "taken", "june.csv: new, incoming")]
    assert (raw.raw_folder(root, MODEL) / "june.csv").read_text() == TABLE


def test_a_file_of_the_same_size_that_is_written_anew_waits_too(root: Path, folder: Path) -> None:
    (folder / "june.csv").write_text(TABLE)
    assert look(root, lambda _: os.utime(folder / "june.csv", (1, 1))) == []


def test_a_file_that_changes_while_it_is_copied_does_not_come_in(
    root: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "june.csv").write_text(TABLE)
    copy = drop.shutil.copyfile

    def slow(source: Path, target: Path) -> None:
        copy(source, target)
        source.write_text(TABLE * 2)

    monkeypatch.setattr(drop.shutil, "copyfile", slow)
    assert look(root) == []
    assert in_window(root) == ["base.csv", "may.csv"]


@pytest.mark.parametrize("name", ["june.csv.part", "june.csv.tmp", ".june.csv", "june.csv~"])
def test_what_is_under_way_by_its_name_is_not_looked_at(root: Path, folder: Path, name: str) -> None:
    (folder / name).write_text(TABLE)
    assert look(root) == []
    (folder / name).rename(folder / "june.csv")
    assert len(look(root)) == 1


def test_a_bad_file_is_refused_once_and_keeps_no_good_one_out(root: Path, folder: Path) -> None:
    (folder / "a-bad.csv").write_text("bad\n")
    (folder / "june.csv").write_text(TABLE)
    refused, taken = look(root)
    assert refused == ("a-bad.csv", "refused", "a-bad.csv: has no column 'text'")  # its own name, not our copy's path
    assert taken[:2] == ("june.csv", "taken")
    assert look(root) == []
    (folder / "a-bad.csv").write_text("text,label\nit is mended,delivery\n")
    assert look(root)[0][:2] == ("a-bad.csv", "taken")


def test_a_name_that_no_copy_can_have_is_refused_and_keeps_no_good_one_out(root: Path, folder: Path) -> None:
    (folder / f"{'n' * 245}.csv").write_text(f"{TABLE}how long,delivery\n")
    (folder / os.fsdecode(b"m\xe4rz.csv")).write_text(f"{TABLE}how much,delivery\n")
    (folder / "zulu.csv").write_text(TABLE)
    found = {name: (outcome, why) for name, outcome, why in look(root)}
    assert found[f"{'n' * 245}.csv"][0] == "refused"
    assert (
        "has a name of 249 bytes, at most 200 can be kept\n  fix: give it a shorter one" in found[f"{'n' * 245}.csv"][1]
    )
    assert found["m\\xe4rz.csv"][0] == "refused"
    assert "control character in its name" in found["m\\xe4rz.csv"][1]
    assert found["zulu.csv"] == ("taken", "zulu.csv: new, incoming")
    assert look(root) == []


def test_a_file_that_may_not_be_read_keeps_no_good_one_out(
    root: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = drop.shutil.copyfile

    def copy(source: Path, target: Path) -> None:
        if source.name == "june.csv":
            raise PermissionError(13, "Permission denied")
        real(source, target)

    monkeypatch.setattr(drop.shutil, "copyfile", copy)
    (folder / "june.csv").write_text(TABLE)
    (folder / "zulu.csv").write_text(f"{TABLE}how long,delivery\n")
    why = "cannot be read by the user of this run; fix: let it be read, then touch it"
    assert look(root) == [("june.csv", "refused", why), ("zulu.csv", "taken", "zulu.csv: new, incoming")]


def test_what_was_refused_is_named_by_the_look_that_comes_to_its_end(
    root: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "bad.csv").write_text("bad\n")
    (folder / "june.csv").write_text(TABLE)
    with monkeypatch.context() as patch:
        real = drop.Folder.copy

        def copy(self: drop.Folder, name: str, look: drop.Look, target: Path) -> bool:
            if name == "june.csv":
                raise ToolError("S3 does not answer", where="s3://new")
            return real(self, name, look, target)

        patch.setattr(drop.Folder, "copy", copy)
        with pytest.raises(ToolError):
            look(root)
    assert [(name, outcome) for name, outcome, _ in look(root)] == [("bad.csv", "refused"), ("june.csv", "taken")]


def test_late_labels_that_come_with_their_rows_are_tried_again_once_these_are_in(
    root: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def take(project: Path, model: str, files: list[Path]) -> list[str]:
        asked.append(files[0].name)
        if files[0].name.endswith("-labels.csv") and "june.csv" not in in_window(project):
            raise DataError("has labels that cannot be joined", where=str(files[0]))
        return advance(project, model, files, "base")[1]

    monkeypatch.setattr(drop, "advance_window", take)
    (folder / "a-labels.csv").write_text("row_id,label\njune.csv:2,delivery\n")
    assert [outcome for _, outcome, _ in look(root)] == ["refused"]
    (folder / "b-labels.csv").write_text("row_id,label\njune.csv:3,delivery\n")
    (folder / "june.csv").write_text(TABLE)
    assert look(root) == [
        ("b-labels.csv", "taken", "b-labels.csv: new, incoming"),
        ("june.csv", "taken", "june.csv: new, incoming"),
    ]
    assert asked == ["a-labels.csv", "b-labels.csv", "june.csv", "b-labels.csv"]


def test_the_same_bytes_under_another_name_do_not_come_in_twice(root: Path, folder: Path) -> None:
    (folder / "june.csv").write_text(TABLE)
    (folder / "june-again.csv").write_text(TABLE)
    assert [outcome for _, outcome, _ in look(root)] == ["taken", "duplicate"]
    assert len(in_window(root)) == 3


def test_other_bytes_under_a_known_name_are_refused_with_what_to_do(root: Path, folder: Path) -> None:
    (folder / "may.csv").write_text(TABLE)
    ((name, outcome, why),) = look(root)
    assert (name, outcome) == ("may.csv", "refused")
    assert "is taken by a file with other content; raw files never change" in why
    assert "give the new file another name, e.g. with a date in it" in why


def test_without_its_record_nothing_comes_in_twice(root: Path, folder: Path) -> None:
    (folder / "june.csv").write_text(TABLE)
    look(root)
    (root / ".finetide" / "drop" / f"{MODEL}.json").unlink()
    assert look(root) == [("june.csv", "taken", "in the window already")]
    assert len(in_window(root)) == 3


def test_what_was_taken_into_a_worktree_that_is_gone_comes_in_again(root: Path, folder: Path) -> None:
    before = window_path(root, MODEL).read_bytes()
    (folder / "june.csv").write_text(TABLE)
    look(root)
    window_path(root, MODEL).write_bytes(before)
    (raw.raw_folder(root, MODEL) / "june.csv").unlink()
    assert look(root) == [("june.csv", "taken", "june.csv: new, incoming")]


def test_a_fault_that_is_not_the_files_stops_the_run(root: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> list[str]:
        raise IntegrityError("pins champion v1, of which the ledger knows nothing")

    monkeypatch.setattr(drop, "advance_window", broken)
    (folder / "june.csv").write_text(TABLE)
    with pytest.raises(IntegrityError):
        look(root)


def test_without_a_folder_there_is_nothing_new(root: Path) -> None:
    assert look(root) == []
