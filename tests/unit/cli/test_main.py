"""The boundary: every error becomes one message and its exit code."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from finetide.cli.main import cli, main
from finetide.errors import BusyError, ConfigError, FinetideError, GateError, IntegrityError, MachineError, ToolError


def ended(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    return int(caught.value.code or 0)


@pytest.mark.parametrize("verb", sorted(cli.commands))
def test_help_answers(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended([verb, "--help"]) == 0
    assert f"finetide {verb}" in capsys.readouterr().out.split("Examples")[1]


def test_outside_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert ended(["status"]) == 2
    err = capsys.readouterr().err
    assert "is not inside a Finetide project" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("arguments", [["frobnicate"], ["predict", "m"], ["stage"], ["run", "--frob"]])
def test_wrong_usage_is_2(arguments: list[str]) -> None:
    assert ended(arguments) == 2


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = Path(__file__).parents[3]
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).write_bytes((root / name).read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_unknown_models_and_stages_list_what_there_is(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(["run", "tikets"]) == 2
    assert "models there: tickets" in capsys.readouterr().err
    assert ended(["stage", "bake", "tickets"]) == 2
    assert "one of ingest, validate" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), 2),
        (GateError("x"), 3),
        (BusyError("x"), 4),
        (ToolError("x"), 5),
        (IntegrityError("x"), 6),
        (MachineError("x"), 7),
    ],
)
def test_each_error_has_its_code(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: FinetideError, code: int
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("finetide.lifecycle.status.read_status", fail)
    assert ended(["status"]) == code
    assert capsys.readouterr().err == "error: x\n"


def test_a_bug_shows_its_traceback_and_is_1(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("finetide.lifecycle.status.read_status", fail)
    assert ended(["status"]) == 1
    assert "This is a bug in Finetide" in capsys.readouterr().err


def test_interrupted_is_130(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("finetide.lifecycle.status.read_status", stop)
    assert ended(["status"]) == 130


def test_a_stale_lock_stops_a_stage(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(["stage", "gate", "tickets"]) == 2
    assert "finetide.lock: stages.tickets.gate: is not what the installed code gives" in capsys.readouterr().err


def test_broken_params_are_reported_together(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (project / "params.yaml").read_text().replace("seed: 17", "seed: -1").replace("opset:", "opsett:")
    (project / "params.yaml").write_text(text)
    assert ended(["check"]) == 2
    out = capsys.readouterr().out
    assert "models.tickets.seed: must be greater than or equal to 0 (found -1)" in out
    assert "models.tickets.export.opsett: unknown key; did you mean 'opset'?" in out
    assert "models.tickets.export.opset: is missing" in out


@pytest.mark.parametrize(
    ("file", "content", "line"),
    [
        ("params.yaml", "", "✗ params.yaml: is empty"),
        ("params.yaml", "- seed\n", "✗ params.yaml: must be a mapping"),
        ("params.yaml", "schema: [\n", "✗ params.yaml, line 2: is not valid YAML"),
        ("dvc.yaml", "", "✗ dvc.yaml: has no stages"),
    ],
)
def test_check_names_a_file_once(
    project: Path, capsys: pytest.CaptureFixture[str], file: str, content: str, line: str
) -> None:
    (project / file).write_text(content)
    assert ended(["check"]) == 2
    out = capsys.readouterr().out
    assert f"\n{line}" in out
    assert ": : " not in out


def test_the_module_runs(tmp_path: Path) -> None:
    import subprocess

    done = subprocess.run([sys.executable, "-m", "finetide", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("finetide, version")


@pytest.mark.parametrize("arguments", [["explain"], ["--help"], ["run", "--help"]])
def test_when_nobody_reads_on_it_ends_quietly_with_141(arguments: list[str], tmp_path: Path) -> None:
    import os
    import subprocess

    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "finetide", *arguments]
    done = subprocess.run(command, cwd=tmp_path, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_explain_shows_present_value_unit_and_readers(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(["explain", "train.batch_tokens"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "train.batch_tokens: integer ≥ 1"
    assert said[2:] == ["    unit: tokens", "    now: models.tickets.train.batch_tokens = 4096", "    read by: train"]


def test_explain_works_outside_a_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert ended(["explain", "judge.floor"]) == 0
    said = capsys.readouterr().out
    assert "now:" not in said
    assert "read by" not in said
