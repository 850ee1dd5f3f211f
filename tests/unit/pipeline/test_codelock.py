"""finetide.lock holds exactly what a stage's code depends on."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from finetide.errors import ConfigError, ProjectError
from finetide.pipeline import codelock

STAGES = ("ingest", "validate", "split", "shift", "gate", "train", "evaluate", "export", "judge")
TASK = "text-classification"


def copy_of_package(tmp_path: Path) -> Path:
    target = tmp_path / "finetide"
    shutil.copytree(codelock.PACKAGE, target, ignore=shutil.ignore_patterns("__pycache__"))
    return target


def keys(package: Path) -> dict[str, object]:
    return {stage: codelock.key(stage, TASK, package=package)["code"] for stage in STAGES}


def changed_by_edit(package: Path, module: str) -> set[str]:
    before = keys(package)
    path = package / module
    path.write_text(path.read_text(encoding="utf-8") + "\nEDITED = True\n", encoding="utf-8")
    codelock._parse.cache_clear()
    codelock._file_hash.cache_clear()
    after = keys(package)
    return {stage for stage in STAGES if before[stage] != after[stage]}


@pytest.mark.slow
def test_an_edit_of_the_command_line_makes_no_stage_stale(tmp_path: Path) -> None:
    package = copy_of_package(tmp_path)
    for module in sorted((package / "cli").glob("*.py")):
        assert changed_by_edit(package, f"cli/{module.name}") == set()


def test_an_edit_of_what_runs_around_the_stages_makes_none_stale(tmp_path: Path) -> None:
    package = copy_of_package(tmp_path)
    for module in ("lifecycle/conclude.py", "pipeline/run.py", "init/project.py", "preflight.py", "report/__init__.py"):
        assert changed_by_edit(package, module) == set()


def test_an_edit_of_the_training_loop_makes_train_stale_and_no_stage_before_it(tmp_path: Path) -> None:
    assert changed_by_edit(copy_of_package(tmp_path), "engine/loop.py") == {"train"}


def test_an_edit_of_a_stage_makes_that_stage_stale_alone(tmp_path: Path) -> None:
    package = copy_of_package(tmp_path)
    for stage in STAGES:
        assert changed_by_edit(package, f"stages/{stage}.py") == {stage}


def test_the_closure_holds_every_module_that_running_a_stage_imports() -> None:
    """The static closure against the real thing: what Python loads for the stage's module."""
    import subprocess

    for stage in ("ingest", "gate", "split"):
        code = (
            f"import sys, finetide.stages.{stage}; "
            "print(' '.join(name for name in sys.modules if name.startswith('finetide.')))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        loaded = set(done.stdout.split())
        assert loaded <= codelock.stage_closure(stage, TASK).modules


def test_the_family_counts_for_the_stages_that_use_it() -> None:
    family = "finetide.tasks.text_classification"
    assert family in codelock.stage_closure("train", TASK).modules
    assert family not in codelock.stage_closure("split", TASK).modules


def test_every_library_that_a_stage_imports_is_known() -> None:
    for stage in STAGES:
        found = codelock.key(stage, TASK)["libraries"]
        assert isinstance(found, dict)
        assert all(found.values())
    assert "torch" in codelock.key("train", TASK)["libraries"]  # type: ignore[operator]
    assert "torch" not in codelock.key("split", TASK)["libraries"]  # type: ignore[operator]


def test_an_unknown_library_is_refused(tmp_path: Path) -> None:
    package = copy_of_package(tmp_path)
    path = package / "stages" / "gate.py"
    path.write_text(path.read_text(encoding="utf-8") + "\nimport strange_library\n", encoding="utf-8")
    codelock._parse.cache_clear()
    with pytest.raises(ProjectError, match=r"imports strange_library, which codelock.LIBRARIES does not list"):
        codelock.key("gate", TASK, package=package)


def test_a_template_beside_a_module_counts(tmp_path: Path) -> None:
    package = copy_of_package(tmp_path)
    templates = [file for stage in STAGES for file in codelock.stage_closure(stage, TASK, package=package).files]
    assert any(file.suffix in (".html", ".j2") for file in templates)


def test_type_checking_imports_do_not_count() -> None:
    tree = codelock.ast.parse("if TYPE_CHECKING:\n    import torch\nimport numpy\n")
    assert codelock._imports(tree) == {"numpy"}


def test_an_unknown_task_is_named() -> None:
    with pytest.raises(ConfigError, match="unknown task 'poetry'"):
        codelock.stage_closure("train", "poetry")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = Path(__file__).parents[3]
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copyfile(root / name, tmp_path / name)
    return tmp_path


def test_refresh_says_what_changed_and_then_nothing(project: Path) -> None:
    assert len(codelock.refresh(project)) == len(STAGES)
    assert codelock.refresh(project) == []


def test_a_stage_refuses_a_key_that_is_not_the_codes(project: Path) -> None:
    codelock.refresh(project)
    codelock.require_fresh(project, "split", "tickets")
    path = project / "finetide.lock"
    path.write_text(path.read_text().replace("code: ", "code: 0"), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"finetide.lock: stages.tickets.split: is not what the installed code gives"):
        codelock.require_fresh(project, "split", "tickets")
