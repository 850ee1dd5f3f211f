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
    recorded = read_json(folder / bundle.EXAMPLES)
    tolerance, worst = float(recorded["max_abs_error"]), 0.0
    for number, example in enumerate(recorded["examples"]):
        found = predictor.logits([example["text"]])[0]
        difference = float(np.abs(found - np.asarray(example["logits"], dtype=np.float32)).max())
        label = predictor.labels[int(found.argmax())]
        if difference > tolerance or label != example["label"]:
            raise IntegrityError(
                f"example {number} gives {label} where {example['label']} was recorded, "
                f"logits differ by {difference:.2e} (allowed {tolerance:.0e})",
                where=str(folder / bundle.FP32),
                fix="another onnxruntime or processor? Export again here, or serve on the recorded machine kind",
            )
        worst = max(worst, difference)
    return VerifyReport(len(read_json(folder / bundle.MANIFEST)["files"]), len(recorded["examples"]), worst)
