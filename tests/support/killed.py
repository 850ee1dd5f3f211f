"""A training that dies at its steps, again and again, and is started anew until it ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import pytest
import torch

from finetide.engine import tune

Ended = TypeVar("Ended")
MOST = 20


class KilledError(Exception):
    """Stands for the end of the process: nothing after the step is done."""


def until_it_ends(run: Callable[[], Ended], countdown: Sequence[int], monkeypatch: pytest.MonkeyPatch) -> Ended:
    """What ``run`` gives in the end.

    Args: countdown: before which step of its own each process dies, counted from 1; the one after them does not.
    """
    original, left = tune.Tuner._step, list(countdown)

    def dying(self: tune.Tuner, rows: Sequence[int], at: tune.Progressed) -> float:
        if left:
            left[0] -= 1
            if left[0] == 0:
                left.pop(0)
                raise KilledError
        return original(self, rows, at)

    with monkeypatch.context() as patch:
        patch.setattr(tune.Tuner, "_step", dying)
        for attempt in range(MOST):
            try:
                return run()
            except KilledError:
                torch.manual_seed(1000 + attempt)  # whatever the next process starts with
    raise AssertionError(f"not at its end after {MOST} starts")
