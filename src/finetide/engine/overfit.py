"""Whether a phase learns its training rows by heart: what is measured at each evaluation, and the rule that ends it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch

from finetide.engine.inference import Around, FloatArray, nowhere, predict
from finetide.engine.specs import CurveRow, Data, Score, Settings
from finetide.metrics.calibration import ece
from finetide.seeding import generator
from finetide.task import Built, Examples, Trainable

# Training rows that are measured: the standard error of their accuracy is then at most 2.2 points.
SAMPLE = 512
# Rows that occur more than once are measured from so many on, and at most so many of them.
FEWEST_REPEATED, MOST_REPEATED = 20, 256
# They are known by heart when their loss is less than this share of the sample's.
BY_HEART = 0.5
# Bins of the calibration error that the curve shows.
BINS = 10
# One evaluation may be a chance.
IN_A_ROW = 2


def sample(data: Data, seed: int) -> list[int]:
    """Positions of the examples of the training rows that are measured: the same ones in every phase and after every
    resume."""
    rows = data.train.rows()
    chosen = generator(seed, "overfit", "sample").choice(len(rows), size=min(len(rows), SAMPLE), replace=False)
    return sorted(place for row in chosen.tolist() for place in rows[row])


def repeated(data: Data, seed: int) -> list[int]:
    """Positions of the measured training rows that occur more than once; none where there are hardly any."""
    rows = data.repeated
    if len(rows) < FEWEST_REPEATED:
        return []
    chosen = generator(seed, "overfit", "repeated").choice(rows, size=min(len(rows), MOST_REPEATED), replace=False)
    return sorted(chosen.tolist())


@dataclass(frozen=True)
class Measured:
    """``score`` and ``ece`` of the validation rows, ``sample`` of the training rows and ``repeated`` of those among
    them that occur more than once, all in evaluation mode."""

    score: Score
    ece: float | None
    sample: Score
    repeated: Score | None = None

    def row(self, *, step: int, epoch: float, phase: int, train_loss: float | None, learning_rate: float) -> CurveRow:
        return CurveRow(
            step=step,
            epoch=epoch,
            phase=phase,
            train_loss=train_loss,
            validation_loss=self.score.loss,
            validation_accuracy=self.score.accuracy,
            learning_rate=learning_rate,
            sample_loss=self.sample.loss,
            sample_accuracy=self.sample.accuracy,
            gap=self.sample.accuracy - self.score.accuracy,
            validation_ece=self.ece,
            repeated_loss=self.repeated.loss if self.repeated else None,
        )


def measure(
    task: Trainable, built: Built, data: Data, settings: Settings, *, around_train: Around = nowhere,
    around_validation: Around = nowhere,
) -> Measured:  # fmt: skip
    """Args: around_train, around_validation: see `finetide.engine.prefix`."""
    sampled, twice = sample(data, settings.seed), repeated(data, settings.seed)
    rows = sorted({*sampled, *twice})

    def around_sample(index: Sequence[int]) -> AbstractContextManager[None]:
        return around_train([rows[place] for place in index])

    found = _outputs(task, built, data.validation, settings, around_validation)
    outputs = _outputs(task, built, data.train.take(rows), settings, around_sample)

    def of(chosen: Sequence[int]) -> Score:
        mine = torch.from_numpy(outputs[np.searchsorted(rows, chosen)])
        return Score(*task.score(mine, data.train.take(chosen)))

    return Measured(
        score=Score(*task.score(torch.from_numpy(found), data.validation)),
        ece=_ece(task, found, data.validation),
        sample=of(sampled),
        repeated=of(twice) if twice else None,
    )


def _outputs(task: Trainable, built: Built, examples: Examples, settings: Settings, around: Around) -> FloatArray:
    tokens, precision = settings.batch_tokens, settings.precision
    return predict(task, built, examples, batch_tokens=tokens, precision=precision, around=around)


def _ece(task: Trainable, outputs: FloatArray, examples: Examples) -> float | None:
    found = task.confidence(outputs, examples)
    return None if found is None else ece(*found, BINS)


def by_heart(data: Data, row: CurveRow) -> list[str]:
    """A line on the training rows that occur more than once, where they are measured. Args: row: the last one."""
    if row.repeated_loss is None:
        return []
    known = row.repeated_loss < BY_HEART * row.sample_loss
    return [
        f"{len(data.repeated)} training rows occur more than once; their loss is {row.repeated_loss:.3f} in the end, "
        f"that of all training rows {row.sample_loss:.3f}: {'learned' if known else 'not learned'} by heart"
    ]


@dataclass
class Watch:
    """What the rule remembers from one evaluation to the next: part of every checkpoint. ``falling``: whether the
    newest one has the lowest loss."""

    lowest_loss: float | None = None
    in_a_row: int = 0
    falling: bool = True

    def look(self, row: CurveRow, limit: float | None, *, better: bool) -> str:
        """Take an evaluation in.

        The rule: at two evaluations in a row the gap is above the limit, the validation loss is above its lowest in
        this phase, and validation is no better than before. A gap alone is no reason: a model may know its training
        rows by heart and still gain on others.

        Args: limit: of the gap, 0 to 1; None: never. better: whether these weights are the best so far.
        Returns: why the phase should end, or an empty string.
        """
        self.falling = self.lowest_loss is None or row.validation_loss < self.lowest_loss
        lowest = row.validation_loss if self.lowest_loss is None else min(self.lowest_loss, row.validation_loss)
        worse = row.validation_loss > lowest and not better
        self.lowest_loss = lowest
        self.in_a_row = self.in_a_row + 1 if limit is not None and worse and row.gap > limit else 0
        if self.in_a_row < IN_A_ROW:
            return ""
        return (
            f"overfitting: accuracy {row.sample_accuracy:.1%} on training rows and {row.validation_accuracy:.1%} on "
            f"validation, a gap of {row.gap:.3f} above overfit_gap {limit:g} at {self.in_a_row} evaluations in a row; "
            f"validation loss {row.validation_loss:.3f}, its lowest was {lowest:.3f}"
        )
