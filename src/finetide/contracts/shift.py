"""shift.json and recipe.json"""

from __future__ import annotations

from typing import Literal

from finetide.contracts.base import Contract

ShiftWord = Literal["none", "harmless", "adapt", "halt", "cannot-tell"]
Cause = Literal["covariate", "label", "new-labels"]


class Statistic(Contract):
    """One test. ``p`` is (k+1)/(n+1) over ``draws`` permutations; ``effect`` is in the unit that ``unit`` names,
    with an interval where the statistic has one. ``detectable`` is the minimum detectable effect at these sizes."""

    name: str
    p: float
    draws: int
    effect: float
    unit: str
    low: float | None
    high: float | None
    detectable: float | None
    note: str


class ShiftVerdict(Contract):
    """``p`` is the combined p-value at ``alpha``. ``sentence`` says the verdict as a person would."""

    schema_version: Literal[1] = 1
    verdict: ShiftWord
    sentence: str
    alpha: float
    p: float | None
    reference_rows: int
    incoming_rows: int
    compared_reference: int
    compared_incoming: int
    labelled_share: float
    causes: tuple[Cause, ...]
    statistics: tuple[Statistic, ...]


class Recipe(Contract):
    """What train does with the verdict. ``replay`` is the share of reference training rows mixed in (1.0: all)."""

    schema_version: Literal[1] = 1
    verdict: ShiftWord
    replay: float
    reason: str
