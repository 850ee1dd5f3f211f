"""Writes docs/params.md from the descriptions in finetide.config: `python docs/make_params.py`. A test compares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from finetide.config.params import ModelParams
from finetide.config.train import ProbePhase, TunePhase

HEADER = """# params.yaml

Every number of a project, under `models.NAME`. There are no defaults in the code: `finetide init` writes every key, and
a missing or unknown one is an error. DVC compares the values, so an edit makes exactly those stages stale that read it.
Written by `docs/make_params.py` from the settings' own descriptions.

| key | type | meaning |
|---|---|---|
"""


def table() -> str:
    rows = list(_rows(ModelParams.model_json_schema(by_alias=True), ""))
    for kind, model in (("probe", ProbePhase), ("tune", TunePhase)):
        rows.append(f"| **`train.phases[]` of kind `{kind}`** | | |")
        rows += list(_rows(model.model_json_schema(by_alias=True), "train.phases[]."))
    return HEADER + "\n".join(rows) + "\n"


def _rows(schema: dict[str, Any], prefix: str, definitions: dict[str, Any] | None = None) -> Any:
    definitions = definitions or schema.get("$defs", {})
    for name, entry in schema["properties"].items():
        target = definitions.get(entry.get("$ref", "").rpartition("/")[2])
        if target and "properties" in target:
            yield from _rows(target, f"{prefix}{name}.", definitions)
            continue
        yield f"| `{prefix}{name}` | {_type(entry, definitions)} | {entry.get('description', '')} |"
        item = definitions.get(entry.get("items", {}).get("$ref", "").rpartition("/")[2]) if "items" in entry else None
        if item and "properties" in item:
            yield from _rows(item, f"{prefix}{name}[].", definitions)


def _type(entry: dict[str, Any], definitions: dict[str, Any]) -> str:
    if "anyOf" in entry:
        return " or ".join(_type(option, definitions) for option in entry["anyOf"])
    if "enum" in entry:
        return " ".join(f"`{value}`" for value in entry["enum"])
    if "const" in entry:
        return f"`{entry['const']}`"
    if entry.get("type") == "array":
        return f"list of {_type(entry['items'], definitions)}" if "$ref" not in entry["items"] else "list"
    limits = [
        f"{sign} {entry[key]:.10g}"
        for key, sign in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
        if key in entry
    ]
    return " ".join([str(entry.get("type", "list")), *limits])


if __name__ == "__main__":
    Path(__file__).with_name("params.md").write_text(table(), encoding="utf-8")
