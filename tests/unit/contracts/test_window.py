from __future__ import annotations

import json
from pathlib import Path

import pytest

from finetide.contracts.window import Window
from finetide.errors import IntegrityError


def _written(folder: Path, **changes: object) -> Path:
    file = {"path": "a.csv", "sha256": "0" * 64, "role": "reference", **changes}
    path = folder / "data" / "mail" / "window.json"
    path.parent.mkdir(parents=True)
    path.write_text(
        json.dumps({"schema_version": 1, "model": "mail", "start": "base", "champion": None, "files": [file]})
    )
    return path


@pytest.mark.parametrize("role", ["reference", "incoming", "excluded"])
def test_every_role_is_read(tmp_path: Path, role: str) -> None:
    assert [file.path for file in Window.read(_written(tmp_path, role=role)).paths(role)] == ["a.csv"]


def test_a_role_that_is_none_is_shown_beside_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError) as caught:
        Window.read(_written(tmp_path, role="holdout"))
    said = str(caught.value)
    assert "files.0.role: Input should be 'reference', 'incoming' or 'excluded' (found 'holdout')" in said
    assert said.endswith("\n  fix: take it from git: git checkout data/mail/window.json")


def test_a_torn_window_comes_from_git(tmp_path: Path) -> None:
    path = _written(tmp_path)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(IntegrityError, match=r"is not valid JSON.*\n  fix: take it from git: git checkout data/mail/"):
        Window.read(path)


def test_a_path_that_leads_out_is_named_once(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError) as caught:
        Window.read(_written(tmp_path, path="../../x.csv"))
    assert str(caught.value).count("../../x.csv") == 1
