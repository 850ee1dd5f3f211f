"""The gate behind every export: the file must say what the model says, on the held-out rows, at every shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from finetide.contracts.bundle import ShapeCheck
from finetide.errors import GateError

Array = np.ndarray[Any, Any]
# Reference outputs for padded inputs: (ids, mask) → logits.
Reference = Callable[[Array, Array], Array]


@dataclass(frozen=True)
class Rows:
    """What both sides said of the held-out rows. ``targets``: index of the label, -1 where a row has none."""

    reference: Array
    exported: Array
    targets: Array

    @property
    def max_abs_error(self) -> float:
        return float(np.abs(self.reference - self.exported).max(initial=0.0))

    @property
    def agreement(self) -> float:
        if not len(self.reference):
            return 1.0
        return float((self.reference.argmax(1) == self.exported.argmax(1)).mean())


def accuracy(logits: Array, targets: Array) -> float:
    """Share of labelled rows that are right; 0 without any."""
    labelled = targets >= 0
    return float((logits[labelled].argmax(1) == targets[labelled]).mean()) if labelled.any() else 0.0


def check_interface(session: onnxruntime.InferenceSession, inputs: Sequence[str], output: str, labels: int) -> None:
    """Names, types and axes. Raises: GateError."""
    found = [(entry.name, entry.type, len(entry.shape)) for entry in session.get_inputs()]
    wanted = [(name, "tensor(int64)", 2) for name in inputs]
    if found != wanted:
        raise GateError(f"the exported file takes {found}, not {wanted}", where="model.onnx")
    results = [(entry.name, entry.type, entry.shape[-1]) for entry in session.get_outputs()]
    if results != [(output, "tensor(float)", labels)]:
        raise GateError(f"the exported file gives {results}, not {output} of {labels} labels", where="model.onnx")


def check_shapes(
    session: onnxruntime.InferenceSession,
    reference: Reference,
    shapes: Sequence[tuple[int, int]],
    vocabulary: int,
    seed: int,
) -> tuple[ShapeCheck, ...]:
    """Random tokens at each (batch, length), the last row half padded, through both sides."""
    checks = []
    for batch, length in shapes:
        rng = np.random.default_rng([seed, batch, length])
        ids = rng.integers(0, vocabulary, (batch, length), dtype=np.int64)
        mask = np.ones((batch, length), dtype=np.int64)
        mask[-1, (length + 1) // 2 :] = 0
        got = session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        error = float(np.abs(got - reference(ids, mask)).max())
        checks.append(ShapeCheck(batch=batch, length=length, max_abs_error=error))
    return tuple(checks)


def shapes_to_check(max_length: int) -> list[tuple[int, int]]:
    """Single and many rows, shortest, odd and longest: a graph with a constant baked in fails at one of them."""
    lengths = sorted({1, 2, min(13, max_length), max(1, max_length // 2), max_length})
    return [(1, length) for length in lengths] + [(3, lengths[-2]), (17, min(13, max_length)), (5, max_length)]


def enforce(
    rows: Rows, shapes: Sequence[ShapeCheck], *, max_abs_error: float, min_agreement: float, where: Path
) -> None:
    """Raises: GateError naming every figure that is over its limit, and the limit."""
    reasons = []
    if not rows.max_abs_error <= max_abs_error:  # a NaN is over every limit
        reasons.append(f"logits differ by up to {rows.max_abs_error:.2e} on the test rows (limit {max_abs_error:.0e})")
    if rows.agreement < min_agreement:
        reasons.append(f"only {rows.agreement:.2%} of the test rows get the same label (limit {min_agreement:.2%})")
    reasons += [
        f"logits differ by {check.max_abs_error:.2e} at batch {check.batch}, length {check.length}"
        for check in shapes
        if not check.max_abs_error <= max_abs_error
    ]
    if reasons:
        raise GateError(
            "the exported file does not say what the model says: " + "; ".join(reasons),
            where=where.name,
            fix="see export.max_abs_error and export.min_agreement; no bundle was written",
        )
