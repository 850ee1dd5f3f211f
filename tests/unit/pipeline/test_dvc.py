"""Repair and locking, against a real DVC."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from finetide.errors import BusyError, ProjectError, ToolError
from finetide.pipeline import dvc, journal
from finetide.pipeline.run import changes, dirty, run_graph, run_stage


@pytest.fixture
def project(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    assert dvc.call(tmp_path, ["init", "--quiet"], initialised=False).code == 0
    (tmp_path / "in.txt").write_text("one")
    (tmp_path / "dvc.yaml").write_text(
        "stages:\n"
        "  first:\n    foreach: [m]\n    do:\n      cmd: cp in.txt a.txt\n      deps: [in.txt]\n      outs: [a.txt]\n"
        "  second:\n    foreach: [m]\n    do:\n      cmd: cp a.txt b.txt\n      deps: [a.txt]\n      outs: [b.txt]\n"
    )
    return tmp_path


GRAPH = {"first@m": [], "second@m": ["first@m"]}


def run_all(project: Path) -> list[str]:
    runs = run_graph(project, GRAPH, on_stage=lambda _: None, on_done=lambda _: None, stale=dirty(project, GRAPH))
    return [run.state for run in runs]


def test_stages_run_once_and_are_cached_then(project: Path) -> None:
    assert run_all(project) == ["ran", "ran"]
    assert dirty(project, GRAPH) == set()
    assert run_all(project) == ["cached", "cached"]


def test_what_has_changed_is_named(project: Path) -> None:
    (project / "params.yaml").write_text("models: {m: {train: 1, judge: 2}}\n")
    (project / "finetide.lock").write_text("stages: {m: {first: aa}}\n")
    text = (project / "dvc.yaml").read_text()
    params = "      params: [models.m.train, finetide.lock: [stages.m.first]]\n"
    (project / "dvc.yaml").write_text(text.replace("      outs: [a.txt]\n", f"      outs: [a.txt]\n{params}"))
    assert changes(project, GRAPH)["first@m"] == ("has not run yet",)
    run_all(project)
    assert changes(project, GRAPH) == {}
    (project / "params.yaml").write_text("models: {m: {train: 3, judge: 4}}\n")
    (project / "finetide.lock").write_text("stages: {m: {first: bb}}\n")
    (project / "in.txt").write_text("two")
    (project / "b.txt").unlink()
    found = changes(project, GRAPH)
    assert sorted(found["first@m"]) == [
        "in.txt",
        "its code or libraries (finetide.lock)",
        "models.m.train (params.yaml)",
    ]
    assert found["second@m"] == ("its output b.txt is missing",)


@pytest.mark.parametrize("torn", [b"", b'{"a": \xff'])
def test_torn_files_are_mended_and_the_result_is_byte_equal(project: Path, torn: bytes) -> None:
    run_all(project)
    lock = project / "dvc.lock"
    whole = lock.read_bytes()
    lock.write_bytes(torn)
    (project / ".dvc" / "tmp" / "rwlock").write_bytes(torn)
    assert run_all(project) == ["cached", "cached"] or lock.read_bytes() == whole
    run_all(project)
    assert lock.read_bytes() == whole


def with_params(project: Path) -> Path:
    """Each stage has settings too; what it gives is a dvc.lock with everything in it that a lock can hold."""
    (project / "params.yaml").write_text("models: {m: {train: {rate: 0.1, names: [a, b]}, judge: 2}}\n")
    text = (project / "dvc.yaml").read_text()
    for out, key in (("a.txt", "train"), ("b.txt", "judge")):
        text = text.replace(f"outs: [{out}]\n", f"outs: [{out}]\n      params: [models.m.{key}]\n")
    (project / "dvc.yaml").write_text(text)
    run_all(project)
    return project / "dvc.lock"


def test_a_lock_cut_off_anywhere_is_mended_or_dvc_reads_it(project: Path) -> None:
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from ruamel.yaml import YAML

    lock = with_params(project)
    whole = lock.read_text()
    kept = []
    for length in range(len(whole) + 1):
        lock.write_text(whole[:length])
        if not dvc.repair(project):
            COMPILED_LOCKFILE_SCHEMA(YAML(typ="safe", pure=True).load(whole[:length]))
            kept.append(whole[:length])
    assert whole in kept
    assert all(set(one.splitlines()) <= set(whole.splitlines()) for one in kept)  # nor is a value cut short


def test_a_lock_cut_off_between_a_stages_lines_is_mended(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lock = with_params(project)
    whole = lock.read_text()
    start, end = "    params:\n      params.yaml:\n", "        models.m.judge: 2\n"
    lock.write_text(whole[: whole.index(end)])
    assert lock.read_text().endswith(start)
    bare = subprocess.run([sys.executable, "-m", "dvc", "status"], cwd=project, capture_output=True, check=False)
    assert bare.returncode != 0
    assert dirty(project, GRAPH) == {"first@m", "second@m"}
    assert "repaired: removed a torn dvc.lock; finished stages come back" in capsys.readouterr().err
    run_all(project)
    assert lock.read_text() == whole


@pytest.mark.parametrize("cache", [None, "../../shared-cache"])
def test_a_folder_that_a_kill_left_empty_in_the_run_cache_is_removed(
    project: Path, cache: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    if cache is not None:
        dvc.checked(project, ["config", "--local", "cache.dir", str(project / ".dvc" / cache)])
    run_all(project)
    whole = (project / "dvc.lock").read_bytes()
    runs = (project / ".dvc" / (cache or "cache") / "runs").resolve()
    entries = [path for path in runs.glob("*/*/*") if "in.txt" in path.read_text()]
    assert len(entries) == 1
    entries[0].unlink()
    for name in ("dvc.lock", "a.txt"):
        (project / name).unlink()
    bare = [sys.executable, "-m", "dvc", "repro", "-s", "first@m"]
    assert "join() argument" in subprocess.run(bare, cwd=project, capture_output=True, text=True, check=False).stderr
    assert run_all(project)[0] == "ran"
    assert "repaired: removed a folder without a file from DVC's run-cache" in capsys.readouterr().err
    assert (project / "dvc.lock").read_bytes() == whole
    assert dvc.repair(project) == []


def test_a_folder_of_the_run_cache_that_is_being_filled_is_left(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = project / ".dvc" / "cache" / "runs" / "ab" / "abc"
    folder.mkdir(parents=True)
    waited: list[float] = []

    def fill(seconds: float) -> None:
        waited.append(seconds)
        (folder / "entry").touch()

    monkeypatch.setattr(dvc.time, "sleep", fill)
    assert dvc.repair(project) == []
    assert (folder / "entry").exists()
    assert 0 < waited[0] <= dvc.SETTLED_SECONDS


def test_a_whole_lock_is_left_alone(project: Path) -> None:
    run_all(project)
    assert dvc.repair(project) == []


def test_the_stages_own_error_is_reported(project: Path) -> None:
    code = "from finetide.pipeline import journal; from pathlib import Path; import sys; "
    code += (
        "journal.append(Path.cwd(), 'm', stage='first', state='failed', exit=3, error='the gate is shut'); sys.exit(3)"
    )
    (project / "fail.py").write_text(code)
    text = (project / "dvc.yaml").read_text().replace("cp in.txt a.txt", f"{sys.executable} fail.py")
    (project / "dvc.yaml").write_text(text)
    run = run_stage(project, "first@m")
    assert (run.state, run.exit_code, run.error) == ("failed", 3, "the gate is shut")


def test_a_failure_without_words_shows_what_dvc_printed(project: Path) -> None:
    (project / "in.txt").unlink()
    run = run_stage(project, "first@m")
    assert (run.state, run.exit_code) == ("failed", 5)
    assert "`dvc repro -s first@m` failed" in run.error
    assert "in.txt" in run.error


def test_when_the_run_at_work_began_is_known(project: Path) -> None:
    assert dvc.run_started(project) is None
    before = time.time()
    with dvc.run_lock(project):
        started = dvc.run_started(project)
        assert started is not None
        assert before - 1 <= started <= time.time() + 1
    assert dvc.run_started(project) is None


def test_outside_a_dvc_project(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="is not a DVC project"):
        dvc.call(tmp_path, ["status"])


def test_a_failed_command_is_a_tool_error(project: Path) -> None:
    with pytest.raises(ToolError, match="`dvc checkout nothing` failed"):
        dvc.checked(project, ["checkout", "nothing"])


def test_two_at_once_exclude_each_other(project: Path) -> None:
    with dvc.workspace_lock(project):
        assert dvc.is_busy(project)
        with (
            pytest.raises(BusyError, match="another run is at work in this folder"),
            dvc.workspace_lock(project, wait=False),
        ):
            pass
    assert not dvc.is_busy(project)


def test_the_lock_goes_with_its_holder(project: Path) -> None:
    code = "import sys, time; from pathlib import Path; from finetide.pipeline import dvc\n"
    code += "with dvc.workspace_lock(Path(sys.argv[1])):\n    print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, str(project)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        assert child.stdout.readline() == "held\n"
        assert dvc.is_busy(project)
        child.kill()
        child.wait()
    deadline = time.monotonic() + 5
    while dvc.is_busy(project) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not dvc.is_busy(project)


def test_a_torn_journal_line_is_skipped(tmp_path: Path) -> None:
    journal.append(tmp_path, "m", stage="split", state="ran", seconds=1.5)
    with journal.path_of(tmp_path, "m").open("a") as stream:
        stream.write('{"stage": "tr')
    assert [event["stage"] for event in journal.read(tmp_path, "m")] == ["split"]
    assert journal.last_of_stage(tmp_path, "m")["split"]["seconds"] == 1.5


@pytest.mark.parametrize(
    ("run", "code"), [(os.getpid, 0), (lambda: "", 0), (lambda: 2**22 + 1, dvc.ORPHANED)], ids=["alive", "none", "gone"]
)
def test_a_stage_whose_run_is_gone_does_not_begin(run: Callable[[], object], code: int) -> None:
    said = "from finetide.pipeline import dvc; dvc.require_run(); print('begun')"
    env = {**os.environ, dvc.RUN_PID: str(run())}
    done = subprocess.run([sys.executable, "-c", said], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (code, "" if code else "begun")


def test_a_child_whose_parent_is_gone_ends_at_once() -> None:
    said = f"from finetide.pipeline import dvc; dvc.die_with_parent({os.getpid() + 1}); print('went on')"
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (dvc.ORPHANED, "")
