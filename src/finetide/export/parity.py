"""The gate behind every export: the file must say what the model says, on the held-out rows, at every shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from finetide.contracts.bundle import ShapeCheck
from finetide.errors import GateError
from finetide.task import ExportSpec

Array = np.ndarray[Any, Any]
# The model's outputs for inputs by name.
Reference = Callable[[Mapping[str, Array]], Array]


@dataclass(frozen=True)
class Rows:
    """The outputs of both sides on the held-out rows, and what each says of every row."""

    reference: Array
    exported: Array
    said: Sequence[object]
    said_exported: Sequence[object]

    @property
    def max_abs_error(self) -> float:
        return float(np.abs(self.reference - self.exported).max(initial=0.0))

    @property
    def agreement(self) -> float:
        """Share of the rows of which both say the same."""
        if not len(self.said):
            return 1.0
        return sum(one == other for one, other in zip(self.said, self.said_exported, strict=True)) / len(self.said)


def check_interface(session: onnxruntime.InferenceSession, spec: ExportSpec, labels: int) -> None:
    """Names, types and axes. Raises: GateError."""
    inputs, output = spec.inputs, spec.output
    found = [(entry.name, entry.type, len(entry.shape)) for entry in session.get_inputs()]
    wanted = [(name, kind, value.ndim) for name, kind, value in zip(inputs, spec.types, spec.sample, strict=False)]
    if found != wanted:
        raise GateError(f"the exported file takes {found}, not {wanted}", where="model.onnx")
    results = [(entry.name, entry.type, entry.shape[-1]) for entry in session.get_outputs()]
    if results != [(output, "tensor(float)", labels)]:
        raise GateError(f"the exported file gives {results}, not {output} of {labels} labels", where="model.onnx")


def check_shapes(
    session: onnxruntime.InferenceSession, reference: Reference, spec: ExportSpec, seed: int
) -> tuple[ShapeCheck, ...]:
    """Random inputs at each (batch, length) through both sides."""
    checks = []
    for batch, length in spec.shapes:
        drawn = spec.draw(np.random.default_rng([seed, batch, length]), batch, length)
        got = session.run(None, drawn)[0]
        error = float(np.abs(got - reference(drawn)).max())
        checks.append(ShapeCheck(batch=batch, length=length, max_abs_error=error))
    return tuple(checks)


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
