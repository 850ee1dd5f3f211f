"""A model's weights for other label frequencies, without training: a bias on its logits (Saerens et al. 2002)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from finetide.engine import overfit, weigh
from finetide.engine.inference import predict
from finetide.engine.progress import Curve
from finetide.engine.specs import Data, PhaseResult, Settings
from finetide.task import Built, Task

Array = np.ndarray[Any, Any]


def correct(
    task: Task, built: Built, data: Data, bias: Array, weights: Array, settings: Settings, curve: Curve
) -> tuple[PhaseResult | None, str]:
    """Add ``bias`` to the logits, in the head, if validation is better with it.

    Args:
        bias: [labels], the logarithm of how many times as often each label comes, in the unit of the logits.
        weights: [validation rows]; what they say then is about rows that come as incoming ones do.

    Returns: What was done, None where it was undone; and a line that says so.
    """
    logits = predict(task, built, data.validation, batch_tokens=settings.batch_tokens, precision=settings.precision)
    targets = np.asarray(data.validation.targets)
    before = weigh.score(logits, targets, weights)
    after = weigh.score(logits + bias[None], targets, weights)
    told = (
        f"validation rows weighted as labels come now: {before.accuracy:.1%}, loss {before.loss:.4f} without it, "
        f"{after.accuracy:.1%}, loss {after.loss:.4f} with it"
    )
    if not after.beats(before):
        return None, f"{told}; left out"
    last = [part for part in built.module.get_submodule("head").modules() if isinstance(part, nn.Linear)][-1]
    with torch.no_grad():
        last.bias.add_(torch.from_numpy(bias).to(last.bias.dtype).to(last.bias.device))
    measured = overfit.measure(task, built, data, settings)
    curve.add(measured.row(step=0, epoch=0.0, phase=0, train_loss=None, learning_rate=0.0))
    total = sum(value.numel() for value in built.module.parameters())
    line = f"{told}; kept, and nothing is trained"
    return PhaseResult("correct", 0, 0.0, 0, len(bias), total - len(bias), after, (line,)), line
