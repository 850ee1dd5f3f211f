"""A worktree a model: it follows the checkout's commit, keeps what its runs took in, and never touches the checkout."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from finetide.config.load import read_yaml
from finetide.contracts.operate import Waiting
from finetide.errors import ProjectError
from finetide.lifecycle import isolate, waiting
from finetide.lifecycle.catch_up import _ignore, catch_up
from finetide.lifecycle.prepare import exclude_file
from finetide.pipeline import dvc
from finetide.registry import alias, approvals, ledger, service
from finetide.registry.window import advance, read_window, window_path
from support.project import run
from support.registry import MODEL, drop, git, make_project, promote, state

NAMED = ("-c", "user.name=a", "-c", "user.email=a@b")


@pytest.fixture
def asked() -> list[list[str]]:
    """The calls of DVC whose answer nobody needs."""
    return []


@pytest.fixture(autouse=True)
def _no_dvc(asked: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """DVC's own settings are held by tests/flows/test_up.py; here they would cost seconds a test."""
    answers = {"cache": ".dvc/cache", "config": ""}
    monkeypatch.setattr(dvc, "checked", lambda _root, arguments, **_: answers[arguments[0]])
    monkeypatch.setattr(dvc, "call", lambda _root, arguments: asked.append(list(arguments)))


@pytest.fixture
def home(root: Path) -> Path:
    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").write_text("[core]\n")
    (root / ".gitignore").write_text("/serving/\n/artifacts/\n/.finetide/\n/data/*/raw/*.csv\n")
    commit(root, "as init wrote it")
    return root


def commit(root: Path, said: str) -> None:
    git(root, "add", "-A")
    git(root, *NAMED, "commit", "-qm", said)


def opened(home: Path) -> Path:
    project = isolate.make(home, MODEL)
    isolate.follow(home, project, MODEL)
    return project


def arrive(project: Path, name: str, text: str) -> None:
    """A file comes in as a scheduled run takes it, its pointer written as DVC would."""
    path = drop(project, name, text)
    path.with_name(f"{name}.dvc").write_text(f"outs:\n- path: {name}\n")
    advance(project, MODEL, [], "base")


def files(project: Path) -> list[str]:
    return [file.path for file in read_window(project, MODEL).files]


def test_it_is_made_once_at_the_checkouts_commit(home: Path) -> None:
    before = state(home)
    project = opened(home)
    assert project == home / ".finetide" / "worktrees" / MODEL
    assert git(project, "rev-parse", "HEAD") == git(home, "rev-parse", "HEAD")
    (project / "kept").touch()
    assert opened(home) == project
    assert (project / "kept").exists()
    assert state(home) == before


def test_a_project_in_a_subfolder_keeps_its_place(tmp_path: Path) -> None:
    root = make_project(tmp_path / "top" / "shop", repository=None)
    shutil.rmtree(root / ".git")
    git(tmp_path / "top", "init", "-q")
    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").write_text("[core]\n")
    commit(tmp_path / "top", "first")
    assert isolate.make(root, MODEL) == root / ".finetide" / "worktrees" / MODEL / "shop"


def test_one_that_a_kill_left_half_made_is_made_anew(home: Path) -> None:
    project = opened(home)
    (project / ".git").unlink()
    assert opened(home) == project
    assert git(project, "rev-parse", "--show-toplevel") == str(project.resolve())


def test_what_is_not_committed_is_told(home: Path) -> None:
    git(home, "rm", "-q", "--cached", ".dvc/config")
    git(home, *NAMED, "commit", "-qm", "out")
    with pytest.raises(ProjectError) as caught:
        isolate.make(home, MODEL)
    assert ".dvc/config: not committed\n  fix: git add -A && git commit, then again" in str(caught.value)


def test_a_promotion_there_is_in_service_here_and_the_checkout_stays_clean(home: Path) -> None:
    project = opened(home)
    before = state(home)
    arrive(project, "june.csv", "text,label\nnew,greeting\n")
    entry = promote(project, "one")
    assert alias.read_alias(home, MODEL) == alias.read_alias(project, MODEL) is not None
    assert (home / "serving" / MODEL / (entry.bundle_hash or "") / "bundle" / "model.onnx").is_file()
    assert not (home / "serving").is_symlink()
    assert [one.event for one in ledger.read(home, MODEL)] == ["promoted"]
    assert state(home) == before
    assert service.reconcile(home, MODEL) == alias.read_alias(home, MODEL)


def test_it_follows_a_new_commit_and_keeps_what_its_runs_took_in(home: Path) -> None:
    project = opened(home)
    arrive(project, "june.csv", "text,label\nnew,greeting\n")
    (project / "dvc.lock").write_text("of the scheduled run\n")
    (home / "params.yaml").write_text((home / "params.yaml").read_text() + "# another night\n")
    drop(home, "july.csv", "text,label\nby hand,greeting\n").with_name("july.csv.dvc").write_text("outs: []\n")
    advance(home, MODEL, [], "base")
    commit(home, "a person's edit")
    assert isolate.follow(home, project, MODEL)[0].startswith("follows commit ")
    assert (project / "params.yaml").read_text().endswith("# another night\n")
    assert files(project) == ["base.csv", "may.csv", "june.csv", "july.csv"]
    assert (project / "dvc.lock").read_text() == "of the scheduled run\n"
    assert isolate.follow(home, project, MODEL) == []


def test_where_only_settings_changed_its_window_keeps_its_bytes(home: Path) -> None:
    project = opened(home)
    arrive(project, "june.csv", "text,label\nnew,greeting\n")
    before = window_path(project, MODEL).read_bytes()
    (home / "params.yaml").write_text((home / "params.yaml").read_text() + "# another night\n")
    commit(home, "a person's edit")
    isolate.follow(home, project, MODEL)
    assert window_path(project, MODEL).read_bytes() == before


@pytest.mark.parametrize("name", ["june.csv", "#hash [x]*.csv", "!bang?.csv"])
def test_git_ignores_what_was_taken_over_as_dvc_add_has_it(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("text,label\n")
    (tmp_path / "hash x.csv").write_text("another file\n")
    _ignore(tmp_path / name)
    run(tmp_path, "git", "init", "--quiet")
    listed = run(tmp_path, "git", "ls-files", "--others", "--exclude-standard", "-z").stdout.split("\0")
    assert sorted(listed) == ["", ".gitignore", "hash x.csv"]


def test_the_checkout_takes_over_what_a_scheduled_run_decided_about(home: Path) -> None:
    project = opened(home)
    arrive(project, "june.csv", "text,label\nnew,greeting\n")
    promote(project, "one")
    assert files(home) == ["base.csv", "may.csv"]
    assert catch_up(home, MODEL) == ["june.csv: known from the run that the ledger's entry 1 is about"]
    assert window_path(home, MODEL).read_bytes() == window_path(project, MODEL).read_bytes()
    assert (home / "data" / MODEL / "raw" / "june.csv.dvc").read_text() == "outs:\n- path: june.csv\n"
    assert "/june.csv" in (home / "data" / MODEL / "raw" / ".gitignore").read_text().splitlines()
    assert catch_up(home, MODEL) == []
    assert advance(home, MODEL, [], "base")[1] == []  # settled: nothing is stale by it


def test_with_the_files_come_the_stages_of_that_run_and_of_no_other_model(home: Path, asked: list[list[str]]) -> None:
    def lock(**stages: str) -> str:
        lines = [f"  {name.replace('_', '@')}:\n    cmd: {cmd}\n" for name, cmd in stages.items()]
        return "schema: '2.0'\nstages:\n" + "".join(lines)

    (home / "dvc.lock").write_text(lock(ingest_tickets="old", judge_tickets="old", ingest_other="mine"))
    commit(home, "v1")
    project = opened(home)
    arrive(project, "june.csv", "text,label\nnew,greeting\n")
    (project / "dvc.lock").write_text(lock(ingest_tickets="new", ingest_other="theirs"))
    promote(project, "one")
    catch_up(home, MODEL)
    assert read_yaml(home / "dvc.lock") == {
        "schema": "2.0", "stages": {"ingest@other": {"cmd": "mine"}, "ingest@tickets": {"cmd": "new"}},
    }  # fmt: skip
    assert asked == [["checkout", "--quiet", "ingest@tickets"]]


def test_files_of_ones_own_stay_when_others_come(home: Path) -> None:
    project = opened(home)
    arrive(project, "june.csv", "text,label\nnew,greeting\n")
    promote(project, "one")
    arrive(home, "mine.csv", "text,label\nmine,greeting\n")
    catch_up(home, MODEL)
    roles = {file.path: file.role for file in read_window(home, MODEL).files}
    assert roles == {"base.csv": "reference", "may.csv": "reference", "june.csv": "reference", "mine.csv": "incoming"}


def test_a_file_dropped_here_under_a_name_known_there_is_left_to_advance(home: Path) -> None:
    project = opened(home)
    arrive(project, "june.csv", "text,label\nnew,greeting\n")
    promote(project, "one")
    drop(home, "june.csv", "text,label\nother bytes,greeting\n")
    assert catch_up(home, MODEL) == []
    assert files(home) == ["base.csv", "may.csv"]


def test_a_decision_is_about_the_run_that_waits(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = opened(home)
    found = {project: "a" * 64}
    monkeypatch.setattr(waiting, "verdict_of", lambda place, _: found.get(place))
    assert waiting.place_of_decision(home, MODEL) == home
    question = Waiting(model=MODEL, verdict_hash="a" * 64, reason="halt", flow_run="7", api="x")
    waiting.write(home, question)
    assert waiting.read(home, MODEL) == question
    assert waiting.place_of_decision(home, MODEL) == project
    assert waiting.refusal(project, MODEL) is None
    approvals.write_approval(project, MODEL, "a" * 64, "rejected", why="no", who="ann")
    refused = waiting.refusal(project, MODEL)
    assert refused is not None
    assert refused.who == "ann"
    found[project] = "b" * 64  # newer data came
    assert waiting.place_of_decision(home, MODEL) == home
    assert waiting.refusal(project, MODEL) is None
    waiting.clear(home, MODEL)
    waiting.clear(home, MODEL)
    assert waiting.read(home, MODEL) is None


def test_an_approval_given_in_the_checkout_counts_in_the_worktree(home: Path) -> None:
    project = opened(home)
    given = approvals.write_approval(home, MODEL, "c" * 64, "approved", why="expected", who="ann")
    isolate.follow(home, project, MODEL)
    assert (project / given.relative_to(home)).read_bytes() == given.read_bytes()


def test_a_decision_given_to_a_scheduled_run_counts_in_the_checkout(home: Path) -> None:
    project = opened(home)
    window = read_window(project, MODEL)
    for word, event, verdict in (("approved", "approved", "ab" * 32), ("rejected", "refused", "cd" * 32)):
        made = approvals.write_approval(project, MODEL, verdict, word, why="as agreed", who="ann")
        service.record(project, MODEL, event, reason="as agreed", window=window, who="ann", hashes={"verdict": verdict})
        said = catch_up(home, MODEL)
        number = len(ledger.read(home, MODEL))
        assert said == [f"{made.name}: {event} by ann in the ledger's entry {number}"]
        assert (approvals.approvals_folder(home, MODEL) / made.name).read_bytes() == made.read_bytes()
        assert catch_up(home, MODEL) == []


def test_a_file_that_only_scheduled_runs_know_can_be_excluded(home: Path) -> None:
    project = opened(home)
    arrive(project, "poison.csv", "text,label\nwrong,greeting\n")
    before = state(home)
    said = exclude_file(home, MODEL, "poison.csv", "labels swapped")
    assert said == f"{MODEL}: poison.csv is excluded from this and all later windows (labels swapped)"
    assert {one.path: one.role for one in read_window(project, MODEL).files}["poison.csv"] == "excluded"
    assert ledger.read(home, MODEL)[-1].event == "excluded"
    assert state(home) == before
    exclude_file(
        home, MODEL, "may.csv", "of another year"
    )  # one that both know is excluded here, and there by the ledger
    advance(project, MODEL, [], "base")
    assert {one.path: one.role for one in read_window(project, MODEL).files}["may.csv"] == "excluded"


def test_rows_without_labels_are_asked_for_where_they_arrived(home: Path) -> None:
    assert isolate.place_of_arrivals(home, MODEL) == home  # no worktree yet
    project = opened(home)
    assert isolate.place_of_arrivals(home, MODEL) == home
    arrive(project, "june.csv", "text,label\nnew,\n")
    assert isolate.place_of_arrivals(home, MODEL) == project
    promote(project, "one")
    catch_up(home, MODEL)
    assert isolate.place_of_arrivals(home, MODEL) == home


def test_home_is_known_from_both_sides(home: Path) -> None:
    assert isolate.home_of(home) == home
    assert isolate.home_of(opened(home)) == home
