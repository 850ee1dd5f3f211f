"""Does a bundle still say what it said when it was made?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from finetide.errors import IntegrityError
from finetide.files import read_json
from finetide.runtime import bundle
from finetide.runtime.predictor import load


@dataclass(frozen=True)
class VerifyReport:
    """``files`` in the manifest, ``examples`` replayed, the largest difference of a logit from the recorded one."""

    files: int
    examples: int
    max_abs_error: float


def verify(folder: str | Path) -> VerifyReport:
    """Compare every file with the manifest, then replay the reference inputs through model.onnx.

    Raises: IntegrityError naming the file or the example that differs.
    """
    folder = Path(folder)
    predictor = load(folder, graph="fp32")
    path = folder / bundle.EXAMPLES
    recorded = read_json(path)
    tolerance, worst = float(bundle.field(recorded, "max_abs_error", (int, float), path)), 0.0
    examples = bundle.field(recorded, "examples", list, path)
    if not examples:
        raise IntegrityError("has no examples to replay", where=str(path), fix=bundle.RESTORE)
    for number, example in enumerate(examples):
        wanted = np.asarray(bundle.field(example, "logits", list, path), dtype=np.float32)
        given = bundle.field(example, predictor.inputs.key, (str, dict), path)
        try:
            value = predictor.inputs.from_example(given)
        except ValueError as error:
            raise IntegrityError(f"example {number} {error}", where=str(path), fix=bundle.RESTORE) from error
        label, numbers = predictor.recorded(value)
        found = np.asarray(numbers, dtype=np.float32)
        same_size = wanted.shape == found.shape
        difference = float(np.abs(found - wanted).max()) if same_size else float("inf")
        if difference > tolerance or label != example.get("label"):
            raise IntegrityError(
                f"example {number} gives {label} where {example.get('label')} was recorded, "
                f"logits differ by {difference:.2e} (allowed {tolerance:.0e})",
                where=str(folder / bundle.FP32),
                fix="are tokenizer, graph and labels of one bundle? Then onnxruntime or processor differ: export again",
            )
        worst = max(worst, difference)
    return VerifyReport(len(read_json(folder / bundle.MANIFEST)["files"]), len(examples), worst)
