"""The families, by name, imported on use: classifying text must not load what draws pictures."""

from __future__ import annotations

from importlib import import_module

from finetide.errors import ConfigError
from finetide.task import Task

FAMILIES: dict[str, str] = {
    "text-classification": "finetide.tasks.text_classification:TASK",
    "image-classification": "finetide.tasks.image_classification:TASK",
    "question-answering": "finetide.tasks.question_answering:TASK",
}


def load(name: str) -> Task:
    """Raises: ConfigError for a name that is not in `FAMILIES`."""
    if name not in FAMILIES:
        raise ConfigError("unknown task", where="params.yaml", found=name, fix=f"known: {', '.join(FAMILIES)}")
    module, _, attribute = FAMILIES[name].partition(":")
    task: Task = getattr(import_module(module), attribute)
    return task
