from __future__ import annotations

from pathlib import Path

import pytest

from finetide.errors import DataError, IntegrityError, ProjectError
from finetide.registry import service, window
from support.registry import MODEL, drop, git, make_project, promote, roles


def bytes_of(root: Path) -> bytes:
    return window.window_path(root, MODEL).read_bytes()


def advance(root: Path, *files: Path, start: window.Start = "base") -> list[str]:
    return window.advance(root, MODEL, list(files), start)[1]


def test_the_first_window_has_the_roles_that_were_given(root: Path) -> None:
    first = window.read_window(root, MODEL)
    assert roles(first) == {"base.csv": "reference", "may.csv": "incoming"}
    assert (first.start, first.champion) == ("base", None)


def test_the_first_window_copies_the_files(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("text,label\n")
    window.first_window(tmp_path / "p", MODEL, reference=[tmp_path / "mine.csv"], incoming=[])
    assert (tmp_path / "p" / "data" / MODEL / "raw" / "mine.csv").read_text() == "text,label\n"


def test_there_is_only_one_first_window(root: Path) -> None:
    with pytest.raises(ProjectError, match=r"window\.json: exists already\n  fix: add files with: finetide advance"):
        window.first_window(root, MODEL, reference=[], incoming=[])


def test_a_file_has_one_role(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("text\n")
    with pytest.raises(DataError, match=r"a\.csv: is given both as reference and as incoming\n  fix: give it once"):
        window.first_window(tmp_path / "p", MODEL, reference=[file], incoming=[file])


def test_no_window_is_said(root: Path) -> None:
    window.window_path(root, MODEL).unlink()
    with pytest.raises(ProjectError, match=r"no such file\n  fix: take it from git: git checkout data/tickets/window"):
        advance(root)


def test_nothing_new_leaves_the_bytes_as_they_are(root: Path) -> None:
    path = window.window_path(root, MODEL)
    path.write_bytes(path.read_bytes() + b"\n")  # even where they are not ours
    before = path.read_bytes()
    assert advance(root) == []
    assert path.read_bytes() == before


def test_before_the_first_promotion_roles_stand_and_new_files_are_incoming_in_name_order(root: Path) -> None:
    drop(root, "z.csv", "z")
    drop(root, "a.csv", "a")
    assert advance(root, start="champion") == ["a.csv: new, incoming", "z.csv: new, incoming"]
    now = window.read_window(root, MODEL)
    assert list(roles(now).items()) == [
        ("base.csv", "reference"),
        ("may.csv", "incoming"),
        ("a.csv", "incoming"),
        ("z.csv", "incoming"),
    ]
    assert (now.start, now.champion) == ("base", None)


def test_files_given_are_copied_first(root: Path, tmp_path: Path) -> None:
    (tmp_path / "june.csv").write_text("text\n")
    assert advance(root, tmp_path / "june.csv") == ["june.csv: new, incoming"]
    assert advance(root, tmp_path / "june.csv") == []


def test_after_a_promotion_the_window_stays_until_something_arrives(root: Path) -> None:
    before = bytes_of(root)
    entry = promote(root, "one")
    assert advance(root) == advance(root, start="champion") == []
    assert bytes_of(root) == before
    drop(root, "june.csv", "june")
    assert advance(root, start="champion") == [
        "may.csv: incoming → reference",
        "june.csv: new, incoming",
        "champion: none → v1",
        "start: base → champion",
    ]
    now = window.read_window(root, MODEL)
    assert now.champion is not None
    assert (now.champion.version, now.champion.hash) == ("v1", entry.bundle_hash)


def test_another_start_for_a_window_that_still_stands_is_taken_up(root: Path) -> None:
    promote(root, "one")
    drop(root, "june.csv", "june")
    advance(root)
    assert advance(root, start="champion") == ["start: base → champion"]


def test_from_scratch_needs_no_champion(root: Path) -> None:
    drop(root, "june.csv", "june")
    assert "start: base → scratch" in advance(root, start="scratch")
    assert window.read_window(root, MODEL).start == "scratch"
    assert advance(root, start="scratch") == []
    assert advance(root, start="champion") == ["start: scratch → base"]  # there is none yet


def test_a_raw_file_that_changed_stops(root: Path) -> None:
    drop(root, "may.csv", "other")
    with pytest.raises(
        IntegrityError,
        match=r"may\.csv: changed after the window took it in; raw files never change, and window\.json "
        r"names sha256 [0-9a-f]{64} \(found '[0-9a-f]{64}'\)\n"
        r"  fix: restore it: git checkout, or from a copy; then add the new data under another name",
    ):
        advance(root)


def test_the_way_back_is_dvcs_where_dvc_has_the_file(root: Path) -> None:
    drop(root, "may.csv", "other")
    drop(root, "may.csv.dvc", "outs: []")
    with pytest.raises(
        IntegrityError, match=r"fix: restore it: delete it, and finetide run tickets brings it back \(DVC\); then add"
    ):
        advance(root)


def test_a_missing_file_stays_in_the_window_if_dvc_has_it(root: Path) -> None:
    raw = root / "data" / MODEL / "raw"
    (raw / "may.csv").unlink()
    with pytest.raises(
        IntegrityError, match=r"may\.csv: is named in the window but is gone\n  fix: restore it: git ch"
    ):
        advance(root)
    (raw / "may.csv.dvc").write_text("outs: []")
    drop(root, "june.csv", "june")
    assert advance(root) == ["june.csv: new, incoming"]
    assert roles(window.read_window(root, MODEL))["may.csv"] == "incoming"


def test_an_excluded_file_may_be_gone(root: Path) -> None:
    service.exclude(root, MODEL, "may.csv", reason="poisoned")
    (root / "data" / MODEL / "raw" / "may.csv").unlink()
    assert advance(root) == []
    assert roles(window.read_window(root, MODEL))["may.csv"] == "excluded"


def test_poisoned_bytes_stay_out_under_another_name(root: Path) -> None:
    service.exclude(root, MODEL, "may.csv", reason="poisoned")
    drop(root, "may-again.csv", "text,label\nbye,parting\n")
    assert advance(root) == ["may-again.csv: new, excluded (excluded before: poisoned)"]


def test_a_pinned_champion_that_the_ledger_lacks_stops(root: Path) -> None:
    promote(root, "one")
    drop(root, "june.csv", "june")
    advance(root)
    git(root, "tag", "-d", "finetide/tickets/000001")
    with pytest.raises(
        IntegrityError, match=r"pins champion v1, of which the ledger knows nothing .*\n.*git fetch --tags"
    ):
        advance(root)


def test_a_champion_from_another_worktree_unsettles_the_window(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    git(root, "worktree", "add", "-q", str(other))
    drop(other, "june.csv", "june")
    window.advance(other, MODEL, None, "base")
    promote(other, "one")
    assert advance(root) == ["may.csv: incoming → reference", "champion: none → v1"]
    assert advance(root) == []


def test_a_rollback_by_two_versions_makes_what_lay_between_incoming_again(root: Path) -> None:
    promote(root, "one")
    for name in ("two", "three"):
        drop(root, f"{name}.csv", name)
        advance(root)
        promote(root, name)
    service.rollback(root, MODEL, "v1", reason="both are bad")
    assert advance(root) == ["two.csv: reference → incoming", "champion: v2 → v1"]
    assert roles(window.read_window(root, MODEL)) == {
        "base.csv": "reference",
        "may.csv": "reference",
        "two.csv": "incoming",
        "three.csv": "incoming",
    }


def test_a_torn_window_is_an_integrity_error(tmp_path: Path) -> None:
    root = make_project(tmp_path / "project")
    window.window_path(root, MODEL).write_text("{")
    with pytest.raises(IntegrityError, match=r"window\.json: is not valid JSON"):
        advance(root)


def test_an_adopted_model_stays_adopted_until_something_is_in_service(tmp_path: Path) -> None:
    root = make_project(tmp_path / "project")
    path = window.window_path(root, MODEL)
    window.read_window(root, MODEL).model_copy(update={"start": "adopted"}).write(path)
    before = path.read_bytes()
    assert advance(root, start="champion") == advance(root, start="base") == []
    assert path.read_bytes() == before
    drop(root, "june.csv", "june")
    assert advance(root, start="champion") == ["june.csv: new, incoming"]
    assert window.read_window(root, MODEL).start == "adopted"
    promote(root, "one")
    assert advance(root, start="champion") == []  # the window is the champion's own
    drop(root, "july.csv", "july")
    assert "start: adopted → champion" in advance(root, start="champion")


def test_a_file_excluded_after_an_adoption_leaves_the_champion_as_the_start(tmp_path: Path) -> None:
    root = make_project(tmp_path / "project")
    path = window.window_path(root, MODEL)
    window.read_window(root, MODEL).model_copy(update={"start": "adopted"}).write(path)
    promote(root, "one")
    service.exclude(root, MODEL, "may.csv", reason="poisoned", who="tester")
    assert window.read_window(root, MODEL).start == "champion"


def test_an_adopted_model_gives_way_to_training_from_scratch(tmp_path: Path) -> None:
    root = make_project(tmp_path / "project")
    path = window.window_path(root, MODEL)
    window.read_window(root, MODEL).model_copy(update={"start": "adopted"}).write(path)
    assert advance(root, start="scratch") == ["start: adopted → scratch"]
