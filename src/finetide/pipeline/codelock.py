"""finetide.lock: the code and library versions behind each stage, as DVC params.

DVC hashes the files in ``deps``, not what a script imports; and a project made by ``finetide init`` has no source to
list at all. So the hash of each stage's *import closure* is written to a git-tracked file, and dvc.yaml names the key.
Editing a module makes exactly those stages stale whose closure holds it.
"""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

import finetide
from finetide.config.graph import stage_names
from finetide.config.load import PARAMS_FILE, read_yaml
from finetide.errors import ConfigError, ProjectError
from finetide.files import canonical_json, sha256_bytes, write_bytes

LOCK_FILE = "finetide.lock"
PACKAGE = Path(finetide.__file__).parent
# Import name → distribution, for those that can change a stage's bytes. A test fails on an import that is neither
# here nor in HARMLESS.
LIBRARIES = {
    "PIL": "pillow",
    "accelerate": "accelerate",
    "cleanlab": "cleanlab",
    "great_expectations": "great-expectations",
    "huggingface_hub": "huggingface-hub",
    "jinja2": "jinja2",
    "matplotlib": "matplotlib",
    "numpy": "numpy",
    "onnx": "onnx",
    "onnxruntime": "onnxruntime",
    "onnxscript": "onnxscript",
    "pandas": "pandas",
    "peft": "peft",
    "pyarrow": "pyarrow",
    "pydantic": "pydantic",
    "ruamel": "ruamel.yaml",
    "safetensors": "safetensors",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "tokenizers": "tokenizers",
    "torch": "torch",
    "transformers": "transformers",
}
# Modules that find a family's part by its name, each with the table that says where it is.
TABLES = {
    "finetide.tasks": "FAMILIES",
    "finetide.data.kinds": "KINDS",
    "finetide.evaluation.kinds": "KINDS",
    "finetide.runtime.inputs": "INPUTS",
}
# They draw progress, and no number.
HARMLESS = frozenset({"tqdm", "rich"})


@dataclass(frozen=True)
class Closure:
    """What a stage's outputs depend on: modules of ours, files beside them, third-party import names."""

    modules: frozenset[str]
    files: frozenset[Path]
    libraries: frozenset[str]


def closure(entry: str, *, package: Path = PACKAGE) -> Closure:
    """Everything that ``entry`` imports, lazily too, through our own modules; type-checking imports do not count.

    The root ``finetide/__init__.py`` is left out: it holds the version, and a release alone must not retrain.
    """
    modules: set[str] = set()
    files: set[Path] = set()
    libraries: set[str] = set()
    waiting = [entry]
    while waiting:
        name = waiting.pop()
        if name in modules or name == "finetide":
            continue
        modules.add(name)
        parsed = _parse(_module_path(name, package), package)
        files |= parsed.files
        libraries |= parsed.libraries
        waiting.extend(parsed.modules)
        waiting.append(name.rpartition(".")[0])
    return Closure(frozenset(modules), frozenset(files), frozenset(libraries))


def stage_closure(stage: str, task: str, *, package: Path = PACKAGE) -> Closure:
    """The closure of a stage for one family: the others' modules do not count."""
    return _with_family(f"finetide.stages.{stage}", task, package, stage)


def code_hash(entry: str, task: str, *, package: Path = PACKAGE) -> str:
    """One hash over the code and the libraries behind a module and one family; for what is kept outside the graph."""
    found = _with_family(entry, task, package)
    return sha256_bytes(canonical_json({"code": _code(found, package), "libraries": _libraries(found)}))


def _with_family(module: str, task: str, package: Path, stage: str | None = None) -> Closure:
    """Args: stage: of which a table that names a family's parts by stage gives one; None: it gives all."""
    found = closure(module, package=package)
    for registry, table in TABLES.items():
        if registry not in found.modules:
            continue
        families = _families(package, registry, table)
        if task not in families:
            raise ConfigError(f"unknown task {task!r}", where=PARAMS_FILE, fix=f"known: {', '.join(sorted(families))}")
        parts = families[task]
        targets = [parts] if isinstance(parts, str) else [parts[name] for name in parts if stage in (None, name)]
        for target in targets:
            part = closure(target.split(":")[0], package=package)
            found = Closure(found.modules | part.modules, found.files | part.files, found.libraries | part.libraries)
    return found


def key(stage: str, task: str, *, package: Path = PACKAGE) -> dict[str, object]:
    """The value that DVC compares: one hash over the closure's files, and the library versions."""
    found = stage_closure(stage, task, package=package)
    unknown = found.libraries - LIBRARIES.keys() - HARMLESS
    if unknown:
        raise ProjectError(
            f"stage {stage!r} imports {', '.join(sorted(unknown))}, which codelock.LIBRARIES does not list",
            where="finetide/pipeline/codelock.py",
        )
    return {
        "code": _code(found, package),
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "libraries": _libraries(found),
    }


def _code(found: Closure, package: Path) -> str:
    lines = [f"{path.relative_to(package).as_posix()} {_file_hash(path)}" for path in sorted(found.files)]
    return sha256_bytes("\n".join(lines).encode())


def _libraries(found: Closure) -> dict[str, str]:
    names = sorted(LIBRARIES[name] for name in found.libraries & LIBRARIES.keys())
    return {name: _version(name) for name in names}


def compute(root: Path, *, package: Path = PACKAGE) -> dict[str, object]:
    """The whole file's content for the project at ``root``."""
    models = read_yaml(root / PARAMS_FILE)["models"]
    stages = stage_names(root)
    return {
        "schema": 1,
        "stages": {
            str(model): {stage: key(stage, str(entry.get("task")), package=package) for stage in stages}
            for model, entry in models.items()
        },
    }


def refresh(root: Path, *, package: Path = PACKAGE) -> list[str]:
    """Write finetide.lock anew if it is out of date. Returns one line for each stage whose code changed."""
    wanted = compute(root, package=package)
    path = root / LOCK_FILE
    have = _read(path)
    if have == wanted:
        return []
    stream = StringIO()
    yaml = YAML()
    yaml.default_flow_style = False
    stream.write("# Written by `finetide run` and `finetide check`: the code and libraries behind each stage.\n")
    yaml.dump(wanted, stream)
    write_bytes(path, stream.getvalue().encode())
    return _changes(have, wanted)


def require_fresh(root: Path, stage: str, model: str) -> None:
    """Raises: ConfigError when this stage's key is not what the installed code gives: dvc.lock would lie."""
    path = root / LOCK_FILE
    recorded: Any = _read(path)
    for part in ("stages", model, stage):
        recorded = recorded.get(part) if isinstance(recorded, dict) else None
    task = read_yaml(root / PARAMS_FILE)["models"][model].get("task")
    if recorded != key(stage, str(task)):
        raise ConfigError(
            f"stages.{model}.{stage}: is not what the installed code gives", where=LOCK_FILE, fix="run `finetide check`"
        )


def _read(path: Path) -> Any:
    """None when the file is missing or torn: it says nothing that the code does not say, and is written anew."""
    try:
        return read_yaml(path) if path.exists() else None
    except ConfigError:
        return None


def _changes(have: object, wanted: dict[str, object]) -> list[str]:
    old: Any = have.get("stages") if isinstance(have, dict) else None
    old = old if isinstance(old, dict) else {}
    new = wanted["stages"]
    assert isinstance(new, dict)
    return [
        f"{stage}@{model}: {'new' if stage not in (old.get(model) or {}) else 'code or libraries changed'}"
        for model, stages in new.items()
        for stage, value in stages.items()
        if (old.get(model) or {}).get(stage) != value
    ]


@dataclass(frozen=True)
class _Parsed:
    modules: frozenset[str]
    files: frozenset[Path]
    libraries: frozenset[str]


@cache
def _parse(path: Path, package: Path) -> _Parsed:
    tree = ast.parse(path.read_bytes(), filename=str(path))
    modules: set[str] = set()
    libraries: set[str] = set()
    for target in _imports(tree):
        top = target.split(".")[0]
        if top == "finetide":
            modules.add(_existing_module(target, package))
        elif top not in sys.stdlib_module_names:
            libraries.add(top)
    # A template or another data file counts when the module names it and it lies beside the module.
    named = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    data = {
        file
        for file in path.parent.rglob("*")
        if file.is_file() and file.suffix not in (".py", ".pyc", ".typed") and file.name in named
    }
    return _Parsed(frozenset(modules), frozenset({path, *data}), frozenset(libraries))


def _imports(tree: ast.AST) -> set[str]:
    found: set[str] = set()
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            waiting.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not used in this package"
            assert node.module is not None
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        waiting.extend(ast.iter_child_nodes(node))
    return found


def _existing_module(dotted: str, package: Path) -> str:
    """``finetide.a.b.Name`` → the longest prefix that is a module."""
    parts = dotted.split(".")
    while len(parts) > 1:
        base = package.joinpath(*parts[1:])
        if base.with_suffix(".py").is_file() or (base / "__init__.py").is_file():
            return ".".join(parts)
        parts.pop()
    return "finetide"


def _module_path(name: str, package: Path) -> Path:
    base = package.joinpath(*name.split(".")[1:])
    path = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
    if not path.is_file():
        raise ProjectError(f"there is no module {name}", where=str(package), fix="stage names in dvc.yaml are fixed")
    return path


def _families(package: Path, registry: str, table: str) -> dict[str, str | dict[str, str]]:
    """A literal table of families, e.g. ``finetide.tasks.FAMILIES``, read without importing it (tasks import torch)."""
    path = _module_path(registry, package)
    for node in ast.parse(path.read_bytes()).body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == table and node.value is not None:
            families: dict[str, str | dict[str, str]] = ast.literal_eval(node.value)
            return families
    raise ProjectError(f"has no {table}", where=path.relative_to(package.parent).as_posix())


@cache
def _file_hash(path: Path) -> str:
    return sha256_bytes(path.read_bytes().replace(b"\r\n", b"\n"))


@cache
def _version(distribution: str) -> str:
    return version(distribution)
