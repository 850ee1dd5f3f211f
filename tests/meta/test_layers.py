"""The shape of the house: who may import whom, how large a file may grow."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src" / "finetide").rglob("*.py"))
# Framework → where it may be imported (path prefixes below src/finetide).
DOORS = {
    "great_expectations": ("data/",),
    "onnxruntime": ("runtime/", "export/"),
    "prefect": (),
    "dvc": (),
    "peft": ("layers/lora.py",),
    "botocore": ("pipeline/s3.py",),
    "transformers": ("tasks/", "engine/"),
    "torch": ("tasks/", "engine/", "layers/", "export/", "stages/", "evaluation/", "shift/", "task.py"),
}


def imported_roots(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


def test_import_linter_passes() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("framework", DOORS)
def test_a_framework_is_imported_behind_its_door_only(framework: str) -> None:
    base = ROOT / "src" / "finetide"
    strangers = [
        path.relative_to(base).as_posix()
        for path in SOURCES
        if framework in imported_roots(path) and not path.relative_to(base).as_posix().startswith(DOORS[framework])
    ]
    assert not strangers


def test_the_engine_names_no_family() -> None:
    from finetide.tasks import FAMILIES

    words = {word for family in FAMILIES for word in (family, family.replace("-", "_"))}
    for path in (ROOT / "src" / "finetide" / "engine").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not [word for word in words if word in text], path


def test_files_stay_small_and_functions_on_one_screen() -> None:
    for path in [*SOURCES, *sorted((ROOT / "flows").rglob("*.py"))]:
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 400, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                assert (node.end_lineno or 0) - node.lineno < 80, f"{path}: {node.name}"


def test_every_package_is_installed() -> None:
    import tomllib

    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    have = {
        "finetide" + str(path.parent.relative_to(ROOT / "src" / "finetide")).replace("/", ".").replace(".", ".", 1)
        if path.parent != ROOT / "src" / "finetide"
        else "finetide"
        for path in SOURCES
        if path.name == "__init__.py"
    }
    normalised = {name if name == "finetide" else "finetide." + name.removeprefix("finetide") for name in have}
    assert listed == normalised | {"finetide_flows"}


def test_the_command_line_starts_without_heavy_imports() -> None:
    heavy = [*DOORS, "pandas", "sklearn", "scipy", "matplotlib"]
    code = f"import sys, finetide.cli.main; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_roots_init_holds_nothing_but_the_version() -> None:
    # It is left out of every stage's import closure (pipeline.codelock), so nothing that matters may live there.
    body = ast.parse((ROOT / "src" / "finetide" / "__init__.py").read_text()).body
    assert [type(node).__name__ for node in body] == ["Expr", "Assign"]
