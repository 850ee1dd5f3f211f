"""What families share that give every row one label: loss, score, and labels as numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from finetide.errors import DataError
from finetide.metrics.calibration import softmax
from finetide.task import Built, Examples

UNLABELLED = -1
Batch = Mapping[str, torch.Tensor]
FloatArray = np.ndarray[Any, Any]


class OneLabel(ABC):
    """Part of a `finetide.task.Task` whose module has ``logits``: [batch, hidden] → [batch, labels]."""

    metric = "accuracy"
    one_label = True

    @abstractmethod
    def features(self, module: nn.Module, batch: Batch) -> torch.Tensor:
        """[batch, hidden], what the head sees."""

    def outputs(self, module: nn.Module, batch: Batch) -> torch.Tensor:
        logits: torch.Tensor = module.logits(self.features(module, batch))  # type: ignore[operator]
        return logits

    def loss(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        return nn.functional.cross_entropy(outputs, batch["targets"], reduction="none")

    def score(self, outputs: torch.Tensor, examples: Examples) -> tuple[float, float]:
        """Accuracy and mean cross-entropy."""
        targets = torch.from_numpy(np.asarray(examples.targets))
        loss = self.loss(outputs, {"targets": targets}).double().mean()
        return float((outputs.argmax(1) == targets).double().mean()), float(loss)

    def confidence(self, outputs: FloatArray, examples: Examples) -> tuple[FloatArray, FloatArray]:
        right = outputs.argmax(axis=1) == np.asarray(examples.targets)
        return softmax(outputs.astype(np.float64)).max(axis=1), right.astype(np.float64)

    def outcomes(self, rows: pd.DataFrame) -> tuple[str, ...]:
        return tuple(sorted(set(rows["label"].dropna())))

    def scorable(self, built: Built, rows: pd.DataFrame) -> pd.DataFrame:
        """A test row may bear a label that no training row had."""
        return rows.assign(label=rows["label"].where(rows["label"].isin(built.settings.labels), None))

    def said(self, outputs: FloatArray, examples: Examples) -> list[int]:
        del examples
        found: list[int] = outputs.argmax(axis=1).tolist()
        return found

    def share_right(self, outputs: FloatArray, examples: Examples) -> tuple[float, int]:
        targets = np.asarray(examples.targets)
        labelled = targets >= 0
        right = (outputs[labelled].argmax(1) == targets[labelled]).mean() if labelled.any() else 0.0
        return float(right), int(labelled.sum())

    def lost(self, built: Built, examples: Examples) -> str:
        del built, examples
        return ""


def targets_of(rows: pd.DataFrame, labels: Sequence[str]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The number of each row's label, UNLABELLED where it has none.

    Raises: DataError for a label that the model does not have.
    """
    index = {label: number for number, label in enumerate(labels)}
    targets = np.full(len(rows), UNLABELLED, dtype=np.int64)
    for place, label in enumerate(rows["label"]):
        if isinstance(label, str):
            if label not in index:
                raise DataError("the model has no such label", where=str(rows["row_id"].iloc[place]), found=label)
            targets[place] = index[label]
    return targets
