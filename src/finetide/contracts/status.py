"""`finetide status --json`, version 1. Documented in docs/status-schema.md; changed only with a new version."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from finetide.contracts.base import Contract
from finetide.contracts.metrics import Measure

Outcome = Literal[
    "promoted", "rejected", "not-needed", "postponed", "halted", "waiting", "failed", "stale", "never-run", "running",
    "ready",
]  # fmt: skip


FiguresOf = Literal["in-service", "challenger", "rejected", "withdrawn", "earlier-run"]


class ChampionStatus(Contract):
    version: str
    hash: str
    bundle: str
    since: str


class ParityStatus(Contract):
    max_abs_error: float
    agreement: float
    passed: bool


class StageStatus(Contract):
    """``why``: what makes it stale, one thing each; empty where only a stage before it is, or while a run is at work.
    ``earlier``: while a run is at work, whether this stage's outputs are of a run before; else null."""

    state: Literal["ran", "cached", "stale", "failed"]
    seconds: float | None
    why: tuple[str, ...] = ()
    earlier: bool | None = None


class FiguresStatus(Contract):
    """Whose ``metrics`` and ``baselines`` are. ``hash`` and ``version`` are null where no bundle is known of them."""

    of: FiguresOf
    version: str | None
    hash: str | None
    sentence: str


class ModelStatus(Contract):
    champion: ChampionStatus | None
    window: dict[str, Any]
    verdicts: dict[str, str | None]
    metrics: dict[str, dict[str, Measure]]
    baselines: dict[str, dict[str, dict[str, Measure]]]
    parity: ParityStatus | None
    outcome: Outcome
    stages: dict[str, StageStatus]
    figures: FiguresStatus | None = None
    suspect_labels: int | None = None
    waiting: str | None = None


class Status(Contract):
    schema_version: Literal[1] = Field(1, alias="schema", serialization_alias="schema")
    models: dict[str, ModelStatus]
