from __future__ import annotations

from pathlib import Path

from finetide.registry.git import open_repository
from finetide.registry.snapshot import in_scope, run_files, write_tree
from support.registry import MODEL, drop, git, make_project, state


def tree_of(root: Path) -> dict[str, str]:
    """Path → content, as the tree of a run commit made now would hold it."""
    repository = open_repository(root)
    tree = write_tree(repository, repository.head())
    names = git(root, "ls-tree", "-r", "--name-only", "--full-tree", tree).splitlines()
    return {name: git(root, "cat-file", "-p", f"{tree}:{name}") for name in names}


def test_scope_is_what_decides_a_run() -> None:
    inside = ["dvc.lock", "data/tickets/window.json", "data/tickets/raw/a.csv.dvc", "approvals/tickets/.gitkeep"]
    outside = ["README.md", "data/tickets/raw/a.csv", "approvals/tickets/.torn.json.x", "data/tickets/raw/window.json"]
    assert [name for name in inside + outside if in_scope(name)] == inside


def test_files_are_as_on_disk_and_the_rest_as_in_head(root: Path) -> None:
    (root / "dvc.lock").write_text("dvc.lock: 2\n")
    (root / ".gitignore").write_text("changed, but no input of the run\n")
    (root / "approvals" / MODEL / "x-approved.json").write_text("{}")
    drop(root, "new.csv.dvc", "outs: []")
    drop(root, "untracked.csv", "text\n")
    before = state(root)
    tree = tree_of(root)
    assert state(root) == before
    assert tree["dvc.lock"] == "dvc.lock: 2"
    assert tree[".gitignore"] == "/serving/\n/artifacts/"
    assert tree[f"data/{MODEL}/raw/new.csv.dvc"] == "outs: []"
    assert f"approvals/{MODEL}/x-approved.json" in tree
    assert f"data/{MODEL}/raw/untracked.csv" not in tree


def test_a_file_gone_from_disk_is_gone_from_the_tree(root: Path) -> None:
    (root / "dvc.lock").unlink()
    (root / ".gitignore").unlink()
    tree = tree_of(root)
    assert "dvc.lock" not in tree
    assert ".gitignore" in tree


def test_a_subfolder_project_keeps_its_place_and_leaves_its_siblings(tmp_path: Path) -> None:
    root = make_project(tmp_path / "examples" / "shop", repository=tmp_path)
    (tmp_path / "dvc.lock").write_text("another project's\n")
    git(tmp_path, "add", "dvc.lock")
    (root / "dvc.lock").write_text("dvc.lock: 2\n")
    tree = tree_of(root)
    assert tree["examples/shop/dvc.lock"] == "dvc.lock: 2"
    assert "dvc.lock" not in tree


def test_before_the_first_commit_the_tree_holds_the_run_files(tmp_path: Path) -> None:
    root = make_project(tmp_path / "project", commit=False)
    assert sorted(tree_of(root)) == run_files(root)
    assert not (root / ".git" / "index").exists()


def test_blobs_are_the_bytes_on_disk_whatever_git_converts(root: Path) -> None:
    git(root, "config", "core.autocrlf", "input")
    (root / "params.yaml").write_bytes(b"a: 1\r\n")
    repository = open_repository(root)
    tree = write_tree(repository, repository.head())
    assert repository.git("cat-file", "blob", f"{tree}:params.yaml") == b"a: 1\r\n"


def test_no_hook_of_the_user_runs_on_our_index(root: Path) -> None:
    hook = root / ".git" / "hooks" / "post-index-change"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\ntouch hook-ran\n")
    hook.chmod(0o755)
    tree_of(root)
    assert not (root / "hook-ran").exists()
