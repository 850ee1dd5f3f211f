"""How train takes a model over that was fine-tuned elsewhere."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from finetide import adopted
from finetide.seeding import derive
from finetide.task import Built, ModelSettings, Task

# Rows whose preparation is compared with transformers' own.
COMPARED = 200


def take_over(
    task: Task, weights: Path, rows: pd.DataFrame, model: ModelSettings, seed: int
) -> tuple[Built, torch.nn.Module]:
    """The model of ``weights`` as ours, and as transformers runs it.

    Its labels are all that it has, in the words of the data; words that the vocabulary is to get (train.tokens) and
    layers for a head of ours are for later trainings.

    Args: rows: of all sides. Raises: BaseModelError: it cannot be taken over exactly, or does not know a label.
    """
    labels = tuple(sorted(adopted.labels_of(weights, model.labels))) if task.one_label else model.labels
    settings = replace(model, labels=labels, hidden=None, tokens=())
    with tempfile.TemporaryDirectory() as folder:
        original = task.adopt(weights, Path(folder), rows.head(COMPARED), settings)
        return task.build(Path(folder), settings, seed=derive(seed, "build")), original
