"""studies/MODEL/tune.json: settings that were tried against each other."""

from __future__ import annotations

from typing import Literal

from finetide.contracts.base import Contract


class Tried(Contract):
    """One trial. ``value`` (of the search's metric) and ``loss`` are of its best weights on validation; null for one
    that was pruned or failed. ``said``: why it ended early, else empty."""

    number: int
    learning_rate: float
    layers: str
    length: int
    state: Literal["done", "pruned", "failed"]
    value: float | None
    loss: float | None
    said: str


class Search(Contract):
    """``metric``: in words. ``phase``: number of the tune phase, from 1. ``unit``: of ``length``. ``importance``:
    setting → its share of the variance over the trials, empty where there are too few. ``start`` and ``best``: numbers
    of trials; ``start`` has the settings as they were."""

    schema_version: Literal[1] = 1
    model: str
    split_sha256: str
    metric: str
    phase: int
    unit: Literal["epochs", "steps"]
    validation_rows: int
    trials: tuple[Tried, ...]
    start: int
    best: int
    importance: dict[str, float]
    sentence: str
