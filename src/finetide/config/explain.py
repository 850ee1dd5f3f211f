"""What every setting of params.yaml means, from its own description: for `finetide explain` and docs/params.md."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel

from finetide.config.base import LARGEST
from finetide.config.params import OTHER_TASKS, ModelParams
from finetide.config.train import AdaptPhase, AveragePhase, ProbePhase, SoupPhase, TunePhase
from finetide.errors import InputError

UNITS = {
    "_gib": "GiB",
    "_minutes": "minutes",
    "_seconds": "seconds",
    "_hours": "hours",
    "_percent": "percent of the rows",
    "max_length": "tokens",
    "batch_tokens": "tokens",
    "stride": "tokens",
    "max_question": "tokens",
    "max_answer": "tokens",
    "min_context_length": "characters",
    "batch_images": "images",
    "zero_shot_examples": "images",
    "min_side": "pixels",
    "_rows": "rows",
    "min_rows_per_label": "rows",
    "min_text_length": "characters",
    "_steps": "optimizer steps",
    "steps": "optimizer steps",
    "epochs": "epochs",
    "_share": "share, 0 to 1",
    "overfit_gap": "share, 0 to 1",
}
PHASES: dict[str, type[BaseModel]] = {
    "probe": ProbePhase, "tune": TunePhase, "adapt": AdaptPhase, "average": AveragePhase,
    "soup": SoupPhase,
}  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """``key`` is dotted, below ``models.NAME``, with ``[]`` for an item of a list; ``phase``: the first kind
    that has it; ``task``: the one family that has it so, where it is not what text has."""

    key: str
    type: str
    meaning: str
    phase: str | None = None
    task: str | None = None


def settings() -> list[Setting]:
    """All of them, in the order of the file; those of the phases last, then what other
    families have otherwise. What several share comes once."""
    found = list(_walk(ModelParams.model_json_schema(by_alias=True), "", None))
    for kind, model in PHASES.items():
        known = {(one.key, one.type, one.meaning) for one in found}
        of_kind = _walk(model.model_json_schema(by_alias=True), "train.phases[].", kind)
        found += [one for one in of_kind if (one.key, one.type, one.meaning) not in known]
    for task, family in OTHER_TASKS.items():
        known = {(one.key, one.type, one.meaning) for one in found}
        of_task = _walk(family.model_json_schema(by_alias=True), "", None)
        found += [replace(one, task=task) for one in of_task if (one.key, one.type, one.meaning) not in known]
    return found


def explain(key: str) -> list[Setting]:
    """The settings that ``key`` names, itself or all below it; as an error message or the file spells it.

    Raises: InputError naming near ones.
    """
    plain = re.sub(r"\[\d*\]|\.\d+(?=\.|$)", "[]", re.sub(r"^models\.[^.]+\.?", "", key.strip()))
    known = settings()
    found = [one for one in known if one.key == plain or one.key.startswith((f"{plain}.", f"{plain}[]"))]
    bare = plain.replace("[]", "")  # nobody writes the brackets of a list
    found = found or [one for one in known if f"{one.key.replace('[]', '')}.".startswith(f"{bare}.")]
    found = found or [one for one in known if plain and one.key.rpartition(".")[2] == plain]
    if found or not plain:
        return found or known
    last = {one.key.rpartition(".")[2]: one.key for one in known}
    near = get_close_matches(plain, [one.key for one in known], n=3) or [
        last[name] for name in get_close_matches(plain.rpartition(".")[2], last, n=3)
    ]
    fix = f"near: {', '.join(near) or 'none'}; `finetide explain` lists all"
    raise InputError("no such setting", where="finetide explain", found=key, fix=fix)


def unit(setting: Setting) -> str | None:
    """What a number of this setting counts, where its name says so. A setting of words has none."""
    if not re.search(r"number|integer", setting.type):
        return None
    last = setting.key.rpartition(".")[2]
    if setting.task == "image-classification" and last == "max_length":
        return "pixels"
    return next((said for ending, said in UNITS.items() if last == ending.lstrip("_") or last.endswith(ending)), None)


def present(document: Any, model: str, key: str) -> list[tuple[str, Any]]:
    """The values that params.yaml, read as ``document``, gives a setting now: (its full path, value). An item of a list
    has its number; a list or mapping in which the setting does not stand is left out."""
    found: list[tuple[str, Any]] = [(f"models.{model}", document["models"][model])]
    for part in key.replace("[]", ".[]").split("."):
        if part == "[]":
            found = [
                (f"{path}[{place}]", one) for path, at in found if isinstance(at, list) for place, one in enumerate(at)
            ]
        else:
            found = [(f"{path}.{part}", at[part]) for path, at in found if isinstance(at, dict) and part in at]
    return found


def readers(graph: Any, key: str) -> list[str]:
    """The stages of dvc.yaml, read as ``graph``, that a change of this setting makes stale, those after them apart."""
    plain = key.partition("[]")[0]
    return [
        name
        for name, stage in graph["stages"].items()
        for param in stage.get("do", stage).get("params", [])
        if isinstance(param, str) and f"{plain}.".startswith(f"{param.split('.', 2)[-1]}.")
    ]


def _walk(
    schema: dict[str, Any], prefix: str, phase: str | None, definitions: dict[str, Any] | None = None
) -> Iterator[Setting]:
    definitions = definitions or schema.get("$defs", {})
    for name, entry in schema["properties"].items():
        target = definitions.get(entry.get("$ref", "").rpartition("/")[2])
        if target and "properties" in target:
            yield from _walk(target, f"{prefix}{name}.", phase, definitions)
            continue
        yield Setting(f"{prefix}{name}", _type(entry, definitions), entry.get("description", ""), phase)
        for option in [entry, *entry.get("oneOf", []), *entry.get("anyOf", [])]:
            below = definitions.get(option.get("$ref", "").rpartition("/")[2])
            item = definitions.get(option.get("items", {}).get("$ref", "").rpartition("/")[2])
            for found, path in ((below, f"{prefix}{name}."), (item, f"{prefix}{name}[].")):
                if found and "properties" in found:
                    yield from _walk(found, path, phase, definitions)


def _type(entry: dict[str, Any], definitions: dict[str, Any]) -> str:
    options = entry.get("anyOf", entry.get("oneOf"))
    if options:
        types = [_type(option, definitions) for option in options if option.get("type") != "null"]
        return " or ".join(dict.fromkeys(types))
    if "$ref" in entry:
        return "mapping"
    if "enum" in entry:
        return " ".join(f"`{value}`" for value in entry["enum"])
    if "const" in entry:
        return f"`{entry['const']}`"
    if entry.get("type") == "array":
        return f"list of {_type(entry['items'], definitions)}" if "$ref" not in entry["items"] else "list"
    limits = [
        f"{sign} {entry[key]:.10g}"
        for key, sign in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
        if key in entry and entry[key] != LARGEST
    ]
    return " ".join([str(entry.get("type", "list")), *limits])
