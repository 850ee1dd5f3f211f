"""Reads params.yaml the way DVC does (ruamel, YAML 1.2) and reports every problem by its dotted path."""

from __future__ import annotations

from difflib import get_close_matches
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from finetide.errors import ConfigError, ProjectError

PARAMS_FILE = "params.yaml"
Model = TypeVar("Model", bound=BaseModel)


def read_yaml(path: Path) -> Any:
    """Raises: ProjectError when the file is missing, ConfigError when it is not YAML."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ProjectError(
            "no such file", where=str(path), fix="run inside a Finetide project, or make one: finetide init --help"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read as UTF-8: {error}", where=str(path)) from error
    try:
        return YAML(typ="safe", pure=True).load(StringIO(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"is not valid YAML: {error.problem}", where=f"{path.name}{line}") from error
    except YAMLError as error:
        raise ConfigError(f"is not valid YAML: {error}", where=path.name) from error


def load_section(root: Path, dotted: str, model: type[Model]) -> Model:
    """Validate one section, e.g. ``models.tickets.train``, against ``model``.

    Raises:
        ConfigError: with all problems of the section, each by its full dotted path.
    """
    value = read_yaml(root / PARAMS_FILE)
    walked: list[str] = []
    for key in dotted.split("."):
        if not isinstance(value, dict) or key not in value:
            known = sorted(value) if isinstance(value, dict) else []
            raise ConfigError(
                f"{'.'.join([*walked, key])}: is missing",
                where=PARAMS_FILE,
                fix=f"known here: {', '.join(map(str, known)) or 'nothing'}",
            )
        value, walked = value[key], [*walked, key]
    return check(value, model, file=PARAMS_FILE, prefix=dotted)


def model_names(root: Path) -> list[str]:
    """The models of the project, in the order of the file."""
    document = read_yaml(root / PARAMS_FILE)
    models = document.get("models") if isinstance(document, dict) else None
    if not isinstance(models, dict) or not models:
        raise ConfigError("models: must name at least one model", where=PARAMS_FILE, found=models)
    return [str(name) for name in models]


def check(value: Any, model: type[Model], *, file: str, prefix: str = "") -> Model:
    """Args: prefix: dotted path of ``value`` inside ``file``."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        problems = [_describe(problem, model, prefix) for problem in error.errors(include_url=False)]
        raise ConfigError.many(file, problems, fix=f"edit {file}; every key is explained in docs/params.md") from error


def _describe(problem: Any, model: type[BaseModel], prefix: str) -> str:
    # pydantic puts the tag of a union into the location; it is no key of the file.
    parts = [part for part in problem["loc"] if part not in ("probe", "tune", "constrained-str", "literal['frozen']")]
    path = prefix
    for part in parts:
        path += f"[{part}]" if isinstance(part, int) else f"{'.' if path else ''}{part}"
    kind, found = problem["type"], problem.get("input")
    if kind == "missing":
        return f"{path}: is missing; every setting is written out"
    if kind == "extra_forbidden":
        near = get_close_matches(str(parts[-1]), sorted(_all_keys(model)), n=1)
        return f"{path}: unknown key" + (f"; did you mean {near[0]!r}?" if near else "")
    message = problem["msg"].removeprefix("Value error, ")
    shown = "" if isinstance(found, (dict, list)) else f" (found {found!r})"
    return f"{path}: {message[0].lower()}{message[1:]}{shown}"


def _all_keys(model: type[BaseModel]) -> set[str]:
    """Every key anywhere below ``model``: near names are looked for among them."""
    keys: set[str] = set()
    schema = model.model_json_schema(by_alias=True)
    for part in [schema, *schema.get("$defs", {}).values()]:
        keys.update(part.get("properties", {}))
    return keys
