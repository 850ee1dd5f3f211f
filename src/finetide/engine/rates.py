"""A learning-rate range test (Smith 2017): the rate grows from step to step until the loss runs away."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from finetide.engine import batches
from finetide.engine.specs import Data, Settings, TuneSpec
from finetide.engine.tune import Progressed, Tuner
from finetide.errors import ConfigError, DivergedError
from finetide.layers.freeze import frozen
from finetide.seeding import derive, generator
from finetide.task import Built, Task

# The smoothed loss takes so much of the one before.
SMOOTHING = 0.9
# The loss has run away at so many times its lowest.
AWAY = 2.0
# With fewer steps than this the curve is noise.
FEWEST = 20


@dataclass(frozen=True)
class RateTest:
    """``rates`` and smoothed ``losses`` step by step; ``best``: where the loss falls fastest, None if
    it never falls."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    best: float | None


class _Rising(Tuner):
    """Its rate grows by the same factor at every step."""

    low: float = 1.0
    high: float = 1.0

    def _rate(self, step: int) -> float:
        share = step / max(1, self.total - 1)
        return self.low * math.pow(self.high / self.low, share) / self.spec.learning_rate


def check_steps(steps: int) -> None:
    """Raises: ConfigError: fewer than tell anything."""
    if steps < FEWEST:
        raise ConfigError(
            f"a rate test needs at least {FEWEST} steps", where="--steps", found=steps, fix=f"--steps {FEWEST}, or more"
        )


def find(
    task: Task, built: Built, data: Data, spec: TuneSpec, settings: Settings, index: int, phases: int,
    *, low: float = 1e-6, high: float = 1e-1, steps: int = 100,
) -> RateTest:  # fmt: skip
    """Train ``built`` with a rising rate, and put its weights back. torch's random state is as before too.

    Args: index: of the phase among all ``phases``.

    Raises: ConfigError: fewer steps than tell anything.
    """
    check_steps(steps)
    before = {name: value.detach().cpu().clone() for name, value in built.module.state_dict().items()}
    quiet = replace(settings, prefix_cache=None)
    rising = replace(spec, epochs=None, steps=steps)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(derive(settings.seed, "rates"))
        tuner = _Rising(task, built, data, rising, quiet, index, phases, "rate test")
        tuner.low, tuner.high = low, high
        try:
            rates, losses = _run(tuner, data, settings)
        finally:
            tuner.adapted.__exit__()
            built.module.load_state_dict(before)
    return RateTest(tuple(rates), tuple(losses), _steepest(rates, losses))


def _run(tuner: _Rising, data: Data, settings: Settings) -> tuple[list[float], list[float]]:
    at = Progressed()
    rates: list[float] = []
    losses: list[float] = []
    mean, order = 0.0, list[list[int]]()
    with frozen(tuner.module, tuner.course.plan.frozen):
        tuner.module.train()
        while at.step < tuner.total:
            if not order:
                rng = generator(settings.seed, "rates", "order", at.step // tuner.per_epoch)
                order = batches.epoch(data.train.lengths, settings.batch_rows, rng, groups=data.train.groups)
            rate = tuner.spec.learning_rate * tuner._rate(at.step)
            try:
                loss = tuner._step(order.pop(0), at)
            except DivergedError:
                break
            mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
            smooth = mean / (1 - SMOOTHING ** (len(losses) + 1))
            rates.append(rate)
            losses.append(smooth)
            if len(losses) > FEWEST // 2 and smooth > AWAY * min(losses):
                break
    tuner.module.eval()
    return rates, losses


def _steepest(rates: list[float], losses: list[float]) -> float | None:
    """Where the loss falls most for a tenfold rate; before its lowest point, since behind it the loss rises."""
    lowest = losses.index(min(losses)) if losses else 0
    slopes = {
        place: (losses[place + 1] - losses[place - 1]) / math.log10(rates[place + 1] / rates[place - 1])
        for place in range(1, min(lowest, len(losses) - 2) + 1)
    }
    if not slopes or min(slopes.values()) >= 0:
        return None
    return rates[min(slopes, key=slopes.__getitem__)]
