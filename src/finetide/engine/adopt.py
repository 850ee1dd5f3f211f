"""A model that came trained: nothing is learned, its answers are compared with those of the library that made it."""

from __future__ import annotations

import numpy as np
import torch

from finetide.engine import overfit
from finetide.engine.inference import predict
from finetide.engine.loop import Result
from finetide.engine.precision import choose, choose_device
from finetide.engine.progress import Curve, say
from finetide.engine.specs import Data, PhaseResult, Settings
from finetide.errors import BaseModelError, DataError
from finetide.task import Built, Examples, Task

# Examples that both answer: the longest, which fill the most places, and others as they come.
LONGEST, OTHERS = 8, 56
# Of an output. Float32 in another order of operations differs by 10⁻⁶ to 10⁻⁵.
TOLERANCE = 1e-4


def adopt(task: Task, built: Built, original: torch.nn.Module, data: Data, settings: Settings, curve: Curve) -> Result:
    """Args: original: the same model as its own library runs it, answering `Task.outputs`.

    Raises: BaseModelError: the two do not agree. DataError: there are no rows to measure it on.
    """
    for name, examples in (("training", data.train), ("validation", data.validation)):
        if len(examples.ids) == 0:
            raise DataError(
                f"there are no labelled {name} rows", where="split", fix="see leakage.json and quality.json"
            )
    line = compare(task, built, original, data.validation, settings.batch_tokens)
    measured = overfit.measure(task, built, data, settings)
    curve.add(measured.row(step=0, epoch=0.0, phase=0, train_loss=None, learning_rate=0.0))
    total = sum(value.numel() for value in built.module.parameters())
    found = PhaseResult("adopted", 0, 0.0, 0, 0, total, measured.score, (line,))
    say(0, found, task.metric)
    sentence = f"adopted as it came, nothing trained, validation {task.metric} {measured.score.accuracy:.1%}; {line}"
    return Result((found,), 0, sentence, None, {}, choose(settings.precision, choose_device()).name)


def compare(task: Task, built: Built, original: torch.nn.Module, examples: Examples, batch_tokens: int) -> str:
    """A line with the largest difference of the outputs. Raises: BaseModelError: it is above `TOLERANCE`."""
    some = _some(examples)
    theirs = Built(original.eval(), built.preprocessor, built.settings)
    mine, other = (predict(task, one, some, batch_tokens=batch_tokens) for one in (built, theirs))
    difference = float(np.abs(mine - other).max()) if mine.shape == other.shape else float("nan")
    if not difference <= TOLERANCE:
        raise BaseModelError(
            "the model taken over does not give the answers of transformers' own: outputs differ by up to "
            f"{difference:.2g} on {len(some.ids)} inputs, and {TOLERANCE:g} is the most",
            where="base",
            fix="this is a fault of Finetide's translation of this kind of model: please report it with config.json",
        )
    return f"outputs differ from transformers' own by at most {difference:.1e} on {len(some.ids)} validation inputs"


def _some(examples: Examples) -> Examples:
    by_length = np.argsort(-examples.lengths, kind="stable")
    places = sorted({*by_length[:LONGEST].tolist(), *range(min(OTHERS, len(examples.ids)))})
    return examples.take(places)
