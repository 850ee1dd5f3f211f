"""judge.json"""

from __future__ import annotations

from typing import Literal

from finetide.contracts.base import Contract


class SliceResult(Contract):
    """One label or role. ``champion`` and ``difference`` are null without a champion."""

    slice: str
    rows: int
    challenger: float
    champion: float | None
    difference: float | None
    low: float | None
    high: float | None
    passed: bool
    reason: str


class JudgeVerdict(Contract):
    """``promote``: the challenger may go into service. ``p``: exact McNemar, two-sided."""

    schema_version: Literal[1] = 1
    verdict: Literal["promote", "reject"]
    reason: str
    metric: str
    rows: int
    challenger_hash: str
    champion_hash: str | None
    challenger: float
    champion: float | None
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    slices: tuple[SliceResult, ...]
