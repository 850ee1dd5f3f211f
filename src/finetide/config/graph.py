"""Reads dvc.yaml: the only place that says which stage reads and writes which file.

DVC itself is not imported (it takes half a second, and a stage needs no more than its own entry). Supported is what
``finetide init`` writes: stages with ``foreach: ${models}`` and ``${key}`` inside them, and plain stages.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetide.config.load import read_yaml
from finetide.errors import ConfigError

GRAPH_FILE = "dvc.yaml"
_WHOLE = f"take it from git: git checkout {GRAPH_FILE}; or from a project that `finetide init` writes"


@dataclass(frozen=True)
class StageFiles:
    """The files of one stage of one model: file name → path relative to the project."""

    deps: dict[str, Path]
    outs: dict[str, Path]


def stage_names(root: Path) -> list[str]:
    """The stages in the order of the file, without the model, e.g. ``ingest``."""
    return list(_stages(root))


def stage_files(root: Path, stage: str, model: str) -> StageFiles:
    """Raises: ConfigError when dvc.yaml has no such stage or two of its files share a name."""
    stages = _stages(root)
    if stage not in stages:
        raise ConfigError(
            f"has no stage {stage!r}", where=GRAPH_FILE, fix=f"{_WHOLE}; stages there: {', '.join(map(str, stages))}"
        )
    entry = stages[stage]
    entry = entry.get("do", entry) if isinstance(entry, dict) else None
    if not isinstance(entry, dict):  # a file that was cut at this place
        raise ConfigError(f"stages.{stage}: must be a mapping", where=GRAPH_FILE, found=entry, fix=_WHOLE)
    deps, outs, metrics, plots = (entry.get(key) or [] for key in ("deps", "outs", "metrics", "plots"))
    return StageFiles(deps=_by_name(deps, stage, model), outs=_by_name([*outs, *metrics, *plots], stage, model))


def _stages(root: Path) -> dict[str, Any]:
    document = read_yaml(root / GRAPH_FILE)
    stages = document.get("stages") if isinstance(document, dict) else None
    if not isinstance(stages, dict) or not stages:
        raise ConfigError("has no stages", where=GRAPH_FILE, fix=_WHOLE)
    return stages


def _by_name(entries: list[Any], stage: str, model: str) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for entry in entries:
        text = next(iter(entry)) if isinstance(entry, dict) else entry
        path = Path(str(text).replace("${key}", model))
        if path.name in named:
            raise ConfigError(f"stage {stage!r} has two files named {path.name!r}", where=GRAPH_FILE)
        named[path.name] = path
    return named
