"""Reads params.yaml the way DVC does (ruamel, YAML 1.2) and reports every problem by its dotted path."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError

from finetide.config.problems import describe
from finetide.errors import ConfigError, ProjectError

PARAMS_FILE = "params.yaml"
Model = TypeVar("Model", bound=BaseModel)


def parse_yaml(text: str) -> Any:
    """Raises: YAMLError, with its place; only the parser in Python tells it, the quick one in C goes first."""
    try:
        return YAML(typ="safe").load(text)
    except (YAMLError, RecursionError):
        return YAML(typ="safe", pure=True).load(StringIO(text))


def read_yaml(path: Path) -> Any:
    """Raises: ProjectError when the file is missing, ConfigError when it is not YAML."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ProjectError(
            "no such file", where=str(path), fix="run inside a Finetide project, or make one: finetide init --help"
        ) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(
            "is not UTF-8 text",
            where=f"{path.name}, line {line}",
            found=error.object[error.start : error.start + 8],
            fix="save it as UTF-8",
        ) from error
    try:
        return parse_yaml(text)
    except DuplicateKeyError as error:
        key = _text_of(error).split('"')[1:2]
        raise ConfigError(
            f"has the key {key[0] if key else '?'!r} twice", where=_line(path, error), fix="keep one of the two"
        ) from error
    except MarkedYAMLError as error:
        found = _text_of(error)
        tab = "'\\t'" in found
        raise ConfigError(
            f"is not valid YAML: {found}",
            where=_line(path, error),
            fix="indent with spaces: YAML takes no tab" if tab else "mend this line, or take it from git",
        ) from error
    except ReaderError as error:
        raise ConfigError(
            f"is not valid YAML: holds the control character {error.character!r}",
            where=f"{path.name}, line {text[: error.position].count(chr(10)) + 1}",
            fix="take that character out",
        ) from error
    except (YAMLError, ValueError, RecursionError) as error:  # a number of thousands of digits; brackets without end
        raise ConfigError(f"is not valid YAML: {error}", where=path.name, fix="mend it, or take it from git") from error


def _line(path: Path, error: MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    return f"{path.name}, line {mark.line + 1}" if mark else path.name


def _text_of(error: MarkedYAMLError) -> str:
    return ", ".join(part for part in (error.context, error.problem) if part)


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
    if document is None:
        raise _empty(PARAMS_FILE)
    if not isinstance(document, dict):
        raise ConfigError("must be a mapping with schema and models", where=PARAMS_FILE, found=document, fix=_WHOLE)
    models = document.get("models")
    if not isinstance(models, dict) or not models:
        fix = "name at least one model: models, then below it, indented, its name: settings"
        raise ConfigError(
            "models: must be a mapping that names at least one model", where=PARAMS_FILE, found=models, fix=fix
        )
    return [str(name) for name in models]


_WHOLE = "take it from git, or from a project that `finetide init` writes"


def _empty(file: str) -> ConfigError:
    return ConfigError("is empty", where=file, fix=_WHOLE)


def check(value: Any, model: type[Model], *, file: str, prefix: str = "") -> Model:
    """Args: prefix: dotted path of ``value`` inside ``file``."""
    if value is None and not prefix:
        raise _empty(file)
    try:
        return model.model_validate(value)
    except ValidationError as error:
        # A value that fits no branch of a union is reported once a branch; one line is enough.
        problems = list(dict.fromkeys(describe(problem, model, prefix) for problem in error.errors(include_url=False)))
        raise ConfigError.many(
            file, problems, fix=f"edit {file}; `finetide explain KEY` says what a setting means"
        ) from error
