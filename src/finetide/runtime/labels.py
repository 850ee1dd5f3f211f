"""What families serve that give every input one label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from finetide.runtime.bundle import Info
from finetide.runtime.graph import Array, softmax


@dataclass(frozen=True)
class Prediction:
    """``score`` is the calibrated probability of ``label``; ``scores`` has one a label."""

    label: str
    score: float
    scores: dict[str, float]


class OneLabel:
    """Part of a `finetide.runtime.inputs.Inputs`; ``column`` is where a table of rows has the inputs."""

    column: str

    def values(self, rows: Any) -> list[Any]:
        return list(rows[self.column])

    def fits(self, shape: Sequence[Any], labels: int) -> bool:
        return list(shape[1:]) == [labels]

    def predictions(self, outputs: Array, encoded: Sequence[Any], info: Info) -> list[Prediction]:
        del encoded
        shares = softmax(outputs, info.temperature) if len(outputs) else outputs
        return [
            Prediction(
                info.labels[int(row.argmax())],
                float(row.max()),
                {label: float(share) for label, share in zip(info.labels, row, strict=True)},
            )
            for row in shares
        ]

    def recorded(self, outputs: Array, encoded: Sequence[Any], info: Info) -> tuple[str, list[float]]:
        """The label, and the logits."""
        del encoded
        return info.labels[int(outputs[0].argmax())], [float(one) for one in outputs[0]]
