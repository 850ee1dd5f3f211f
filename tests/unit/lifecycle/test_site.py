"""The chain that `why` tells, and the site for all models: from real ledgers, of the place that decided last."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from finetide.cli.main import cli
from finetide.contracts.operate import Waiting
from finetide.errors import InputError
from finetide.lifecycle import isolate, outputs, site, status, waiting, why
from finetide.registry import ledger, window
from support.artifacts import Artifacts
from support.registry import MODEL, drop, git, promote

NAMED = ("-c", "user.name=a", "-c", "user.email=a@b")


def test_the_chain_goes_from_the_files_to_what_is_in_service(made: Artifacts) -> None:
    promote(made.root, "one")
    said = list(why.chain(made.root, MODEL))
    stages = ["ingest", "validate", "split", "shift", "train", "evaluate", "export", "judge"]
    assert said[0] == f"{MODEL}, as this checkout left it:"
    links = [line[2:12].strip() for line in said[1:]]
    assert links == ["reference", "incoming", "to beat", *stages, "decision", "in service"]
    assert said[-2].endswith(": one is better")
    assert "promoted v1, 2026-01-01T00:00:00+00:00, by " in said[-2]


def test_before_any_decision_the_chain_says_what_comes_next(root: Path) -> None:
    said = list(why.chain(root, MODEL))
    assert said[-2:] == [
        f"  decision   none yet about these files: finetide run {MODEL}", "  in service nothing yet",
    ]  # fmt: skip


@pytest.fixture
def decided_there(made: Artifacts, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scheduled run took a file in and promoted, in the worktree; returns its project."""
    root = made.root
    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").write_text("[core]\n")
    (root / ".gitignore").write_text("/serving/\n/artifacts/\n/.finetide/\n")
    git(root, "add", "-A")
    git(root, *NAMED, "commit", "-qm", "all")
    monkeypatch.setattr(isolate, "_configure", lambda *_: None)
    project = isolate.make(root, MODEL)
    isolate.follow(root, project, MODEL)
    shutil.copytree(root / "artifacts", project / "artifacts")
    drop(project, "june.csv", "text,label\nnew,greeting\n").with_name("june.csv.dvc").write_text("outs: []\n")
    window.advance(project, MODEL, [], "base")
    promote(project, "two")
    return project


def test_the_place_that_decided_last_tells_the_chain(made: Artifacts, decided_there: Path) -> None:
    said = list(why.chain(made.root, MODEL))
    assert said[0] == f"{MODEL}, as scheduled runs (.finetide/worktrees/{MODEL}) left it:"
    assert any("june.csv" in line for line in said)
    # A person's own newer decision is told again from the checkout.
    drop(made.root, "mine.csv", "text,label\nmine,greeting\n")
    window.advance(made.root, MODEL, [], "base")
    promote(made.root, "three")
    assert next(iter(why.chain(made.root, MODEL))) == f"{MODEL}, as this checkout left it:"


def test_a_question_that_waits_is_in_chain_and_status(
    made: Artifacts, decided_there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdict = waiting.verdict_of(decided_there, MODEL)
    assert verdict is not None
    question = Waiting(model=MODEL, verdict_hash=verdict, reason="gate@x:\n shut", flow_run="7", api="x")
    waiting.write(made.root, question)
    assert "  waits      for a person: gate@x: shut" in list(why.chain(made.root, MODEL))
    monkeypatch.setattr(status, "is_busy", lambda _: True)
    monkeypatch.setattr(status, "run_started", lambda _: None)
    found = status.read_status(made.root, [MODEL])
    assert found.models[MODEL].waiting == "gate@x:\n shut"
    assert "  waiting     gate@x: shut" in list(status.as_lines(made.root, found))


def test_the_site_has_a_page_a_model_and_loads_nothing(made: Artifacts, tmp_path: Path) -> None:
    entry = promote(made.root, "<script>alert(1)</script>")
    folder = tmp_path / "site"
    (folder / "kept.txt").parent.mkdir()
    (folder / "kept.txt").touch()
    written = site.write(made.root, [MODEL], folder)
    assert [path.name for path in written] == ["index.html", f"{MODEL}.html"]
    page = written[0].read_text(encoding="utf-8")
    assert f'<a href="{MODEL}.html">report</a>' in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; is better" in page
    assert "<script" not in page
    assert "http" not in page
    assert entry.time in page
    assert (folder / "kept.txt").exists()
    assert "<h1" in written[1].read_text(encoding="utf-8")


def test_a_model_that_never_ran_has_a_line_and_no_page(root: Path, tmp_path: Path) -> None:
    assert outputs.ingest(root, MODEL) is None
    assert ledger.read(root, MODEL) == []
    (index,) = site.write(root, [MODEL], tmp_path / "site")
    assert "nothing was run yet" in index.read_text(encoding="utf-8")


def test_the_command_says_what_it_cannot_do(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    (tmp_path / "file").touch()
    for arguments, said in (
        (["--site", str(tmp_path / "file")], "is a file"),
        (["--site", str(tmp_path / "s"), "--output", "x.html"], "names one page, and --site a folder of them"),
    ):
        with pytest.raises(InputError, match=said):
            CliRunner().invoke(cli, ["report", *arguments], standalone_mode=False, catch_exceptions=False)
    ended = CliRunner().invoke(cli, ["report"])
    assert "Missing argument 'MODEL', or --site DIR for all models." in ended.output
