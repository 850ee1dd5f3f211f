"""What is compared, as arrays: both sides together, one entry a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Champion:
    """What the model in service makes of the rows. ``labels``: its labels; ``outputs`` [rows, labels]: calibrated
    probabilities; ``scored`` [rows] bool: incoming rows, and reference rows that it was not trained on. Of its own
    training rows a model is surer than of any others, so that those would look like a shift."""

    labels: tuple[str, ...]
    outputs: Array
    scored: Array


@dataclass(frozen=True)
class Sample:
    """``incoming`` [rows] bool; ``features`` [rows, hidden]; ``figures``: name → one number a row; ``places``: row id,
    file and line of each row; ``shown``: what a person reads of it. ``groups`` only where every row has one; ``texts``
    where the family has them."""

    incoming: Array
    features: Array
    labels: Sequence[str | None]
    texts: Sequence[str] | None = None
    shown: Sequence[str] = ()
    groups: Sequence[str] | None = None
    figures: Mapping[str, Array] = field(default_factory=dict)
    champion: Champion | None = None
    places: Sequence[tuple[str, str, int]] = ()

    @property
    def labelled(self) -> Array:
        """[rows] bool."""
        return np.array([isinstance(label, str) for label in self.labels], dtype=bool)
