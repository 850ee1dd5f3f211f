"""The families, by name, imported on use: classifying text must not load what draws pictures."""

from __future__ import annotations

from finetide.task import Task, entry, imported

FAMILIES: dict[str, str] = {
    "text-classification": "finetide.tasks.text_classification:TASK",
    "image-classification": "finetide.tasks.image_classification:TASK",
    "question-answering": "finetide.tasks.question_answering:TASK",
}


def load(name: str) -> Task:
    """Raises: ConfigError for a name that is not in `FAMILIES`."""
    task: Task = imported(entry(FAMILIES, name))
    return task
