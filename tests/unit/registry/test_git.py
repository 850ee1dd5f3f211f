from __future__ import annotations

from pathlib import Path

import pytest

from finetide.errors import ProjectError, ToolError
from finetide.registry.git import open_repository
from support.registry import git


def test_finds_the_prefix_of_a_project_in_a_subfolder(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    inner = tmp_path / "a" / "ünï b"
    inner.mkdir(parents=True)
    assert open_repository(tmp_path).prefix == ""
    assert open_repository(inner).prefix == "a/ünï b/"


def test_a_folder_without_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match=r"is not in a git repository\n  fix: bring the \.git folder back \("):
        open_repository(tmp_path)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="gone: no such folder"):
        open_repository(tmp_path / "gone")


def test_the_inside_of_git_is_no_project(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    with pytest.raises(ProjectError, match="is not in a git repository"):
        open_repository(tmp_path / ".git")


def test_missing_git_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProjectError, match=r"git is not installed\n  fix: install it"):
        open_repository(tmp_path)


def test_another_failure_carries_the_words_of_git(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    with pytest.raises(ToolError, match=r"`git cat-file -p nothing` failed: fatal: Not a valid object name nothing"):
        open_repository(tmp_path).git("cat-file", "-p", "nothing")


def test_a_broken_repository_is_a_tool_error(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / ".git" / "config").write_text("[broken")
    with pytest.raises(ToolError, match=r"`git rev-parse --show-prefix` failed: fatal: bad config"):
        open_repository(tmp_path)


def test_variables_of_a_hook_do_not_lead_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(tmp_path, "init", "-q")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index.lock"))
    assert open_repository(tmp_path).prefix == ""


def test_identity_is_the_users_where_configured(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    repository = open_repository(tmp_path)
    assert repository.identity()["GIT_COMMITTER_EMAIL"] == "finetide@localhost"
    git(tmp_path, "config", "user.name", "Some One")
    assert repository.identity()["GIT_AUTHOR_NAME"] == "Some One"
    assert repository.who() == "Some One"
    git(tmp_path, "config", "user.email", "one@example.org")
    assert repository.who() == "Some One <one@example.org>"


def test_who_falls_back_to_the_login_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(tmp_path, "init", "-q")
    monkeypatch.setenv("LOGNAME", "operator")
    assert open_repository(tmp_path).who() == "operator"


def test_who_is_a_number_where_the_user_has_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found")

    git(tmp_path, "init", "-q")
    monkeypatch.setattr("getpass.getuser", nameless)
    assert open_repository(tmp_path).who().startswith("uid ")
