"""What pydantic found wrong, in words for the person who wrote the file."""

from __future__ import annotations

import re
from datetime import date
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel

from finetide.config.base import HIDDEN, PATTERN_WORDS

# What pydantic puts into a location that is no key of the file: tags of unions, the kind of a failed branch.
_NO_KEYS = re.compile(
    r"(probe|tune|adapt|average|soup|constrained-str|float|constrained-float|literal\[.*\]|policy-\w+|function-\w+\[.*\]|\[key\])"
)
_KINDS = {
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "list_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
}
# A person wrote YAML, not Python.
_AS_WRITTEN = {"None": "null", "True": "true", "False": "false"}
SHOWN = 60


def describe(problem: Any, model: type[BaseModel], prefix: str) -> str:
    """One line: dotted path, fault, what was found. Args: problem: an item of ``ValidationError.errors()``."""
    parts = [part for part in problem["loc"] if isinstance(part, int) or not _NO_KEYS.fullmatch(part)]
    path = prefix
    for part in parts:
        path += f"[{part}]" if isinstance(part, int) else f"{'.' if path else ''}{part}"
    kind, found = problem["type"], problem.get("input")
    if kind == "missing":
        return f"{path}: is missing; every setting is written out{_like(parts)}"
    if kind == "extra_forbidden":
        return f"{path}: unknown key{_nearest(str(parts[-1]), parts[:-1], model)}"
    if kind == "union_tag_not_found":
        return f"{path}.{_tag(problem)}: is missing; one of {_tags(_tag(problem), model)}"
    if kind == "union_tag_invalid":
        wanted = problem["ctx"]["expected_tags"]
        return f"{path}.{_tag(problem)}: must be one of {wanted} (found {problem['ctx']['tag']!r})"
    place = f"{path}: " if path else ""  # the file as a whole has no key
    return f"{place}{_fault(problem)}{_shown(kind, found)}"


def _fault(problem: Any) -> str:
    kind, found = problem["type"], problem.get("input")
    if kind == "string_pattern_mismatch" and problem["ctx"]["pattern"] in PATTERN_WORDS:
        return f"must be {PATTERN_WORDS[problem['ctx']['pattern']]}"
    if kind in ("too_short", "string_too_short"):
        return "must not be empty" if problem["ctx"]["min_length"] == 1 else str(problem["msg"])
    if kind == "literal_error" and problem["loc"] == ("schema",):
        return f"this Finetide reads schema {problem['ctx']['expected']}: update Finetide, or take the file from git"
    if kind not in _KINDS:
        message: str = problem["msg"].removeprefix("Value error, ")
        message = message.replace("Input should be", "must be")
        return f"{message[0].lower()}{message[1:]}"
    if kind in ("int_type", "float_type") and isinstance(found, str) and _is_number(found):
        return f"{_KINDS[kind]}, without quotes"
    if kind == "string_type" and isinstance(found, (int, float)):
        return f"{_KINDS[kind]}, in quotes"
    return _KINDS[kind]


def _shown(kind: str, found: Any) -> str:
    if isinstance(found, date):
        return f" (found {found.isoformat()})"
    if kind == HIDDEN or isinstance(found, dict) or (isinstance(found, list) and kind not in _KINDS):
        return ""
    text = _AS_WRITTEN.get(repr(found), repr(found))
    return f" (found {text if len(text) <= SHOWN else text[:SHOWN] + '…'})"


def _like(parts: list[Any]) -> str:
    """The one setting that has one right value."""
    return ": write schema: 1" if parts == ["schema"] else ""


def _tag(problem: Any) -> str:
    return str(problem["ctx"]["discriminator"]).strip("'")


def _tags(key: str, model: type[BaseModel]) -> str:
    """The values that ``key`` may have where it decides between shapes."""
    found: set[str] = set()
    for shape in model.model_json_schema(by_alias=True).get("$defs", {}).values():
        value = shape.get("properties", {}).get(key, {})
        found.update([value["const"]] if "const" in value else [])
    return ", ".join(repr(value) for value in sorted(found))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _nearest(key: str, way: list[Any], model: type[BaseModel]) -> str:
    """The nearest key anywhere below ``model``; else those that are known at this place."""
    schema = model.model_json_schema(by_alias=True)
    shapes = [schema, *schema.get("$defs", {}).values()]
    known = {name for shape in shapes for name in shape.get("properties", {})} - {key}  # there it is right, not here
    near = get_close_matches(key, sorted(known), n=1)
    if near:
        return f"; did you mean {near[0]!r}?"
    here = _at(schema, way)
    return f"; known here: {', '.join(here)}" if here else ""


def _at(schema: dict[str, Any], way: list[Any]) -> list[str]:
    """The keys of the shape that ``way`` leads to, of several shapes those that all have; none where a list is on the
    way."""
    places = [schema]
    for part in way:
        below = []
        for place in places:
            any_key = next(iter(place.get("patternProperties", {}).values()), place.get("additionalProperties", {}))
            found = place.get("properties", {}).get(part, any_key)
            if not isinstance(found, dict):
                return []
            options: list[Any] = found.get("oneOf") or found.get("anyOf") or [found]
            below += [schema.get("$defs", {}).get(str(one.get("$ref", "")).rpartition("/")[2], one) for one in options]
        places = below
    first, *others = [list(place.get("properties", {})) for place in places]
    return [key for key in first if all(key in keys for keys in others)]
