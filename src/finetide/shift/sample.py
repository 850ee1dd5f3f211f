"""What is compared, as arrays: both sides together, one entry a row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
# Heads of fewer rows are not worth asking.
FEWEST_TAUGHT = 50


@dataclass(frozen=True)
class Champion:
    """What the model in service makes of the rows. ``labels``: its labels; ``outputs`` [rows, labels]: calibrated
    probabilities; ``scored`` [rows] bool: incoming rows, and reference rows that it was not trained on. Of its own
    training rows a model is surer than of any others, so that those would look like a shift."""

    labels: tuple[str, ...]
    outputs: Array
    scored: Array


@dataclass(frozen=True)
class Held:
    """Labelled reference rows that the champion was not trained on, as many as there are or may be. ``features``
    [rows, hidden]; ``outputs`` [rows, labels]: its probabilities; ``right`` [rows] bool."""

    features: Array
    outputs: Array
    right: Array
    groups: Sequence[str] | None = None


@dataclass(frozen=True)
class Taught:
    """Labelled reference rows of the training side, for heads of our own. ``features`` [rows, hidden]."""

    features: Array
    labels: Sequence[str]

    @classmethod
    def of(cls, features: Array, labels: Sequence[str]) -> Taught | None:
        """None of too few rows, or of one label."""
        many = len(labels) >= FEWEST_TAUGHT and min(Counter(labels).values()) < len(labels)
        return cls(features, labels) if many else None


@dataclass(frozen=True)
class Wide:
    """All rows, of which the sample holds some: ``figures`` cost so little that nothing has to be left out.

    ``incoming`` [all rows] bool; ``groups`` as the sample has them; ``places`` [sample's rows]: where its rows stand
    among all."""

    incoming: Array
    figures: Mapping[str, Array]
    places: Array
    groups: Sequence[str] | None = None


@dataclass(frozen=True)
class Sample:
    """``incoming`` [rows] bool; ``features`` [rows, hidden]; ``figures``: name → one number a row; ``places``: row id,
    file and line of each row; ``shown``: what a person reads of it. ``groups`` only where every row has one; ``texts``
    where the family has them; ``wide`` where there are more rows than these, whose figures then count instead. ``held``
    and ``taught`` where there are more such rows than the sample has."""

    incoming: Array
    features: Array
    labels: Sequence[str | None]
    texts: Sequence[str] | None = None
    shown: Sequence[str] = ()
    groups: Sequence[str] | None = None
    figures: Mapping[str, Array] = field(default_factory=dict)
    champion: Champion | None = None
    places: Sequence[tuple[str, str, int]] = ()
    wide: Wide | None = None
    held: Held | None = None
    taught: Taught | None = None

    @property
    def labelled(self) -> Array:
        """[rows] bool."""
        return np.array([isinstance(label, str) for label in self.labels], dtype=bool)
