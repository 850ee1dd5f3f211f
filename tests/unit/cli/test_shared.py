from __future__ import annotations

from pathlib import Path

import pytest

from finetide.cli.shared import check_parent, check_target
from finetide.errors import InputError


def test_a_target_whose_folder_is_there_passes_and_makes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / "out.csv", Path("out.csv")):
        check_target(path)
    check_parent(tmp_path / "site", "--site")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "named"), [("nope/out.csv", "nope"), ("no pe/more/out.csv", "'no pe/more'")])
def test_a_folder_that_is_not_there_is_named_and_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, named: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        check_target(Path(name))
    assert caught.value.exit_code == 2
    assert str(caught.value) == (f"{Path(name).parent}: no such folder\n  fix: mkdir -p {named}; or correct --output")
    assert not list(tmp_path.iterdir())


def test_only_the_last_folder_of_a_site_may_be_made(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a: no such folder\n  fix: mkdir -p .*/a; or correct --site"):
        check_parent(tmp_path / "a" / "site", "--site")


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(InputError, match=r"taken: is a file, and --output wants a folder there"):
        check_target(tmp_path / "taken" / "more" / "out.csv")
