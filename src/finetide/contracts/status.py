"""`finetide status --json`, version 1. Documented in docs/status-schema.md; changed only with a new version."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from finetide.contracts.base import Contract
from finetide.contracts.metrics import Measure

Outcome = Literal["promoted", "rejected", "not-needed", "halted", "failed", "stale", "never-run", "running", "ready"]


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
    state: Literal["ran", "cached", "stale", "failed"]
    seconds: float | None


class ModelStatus(Contract):
    champion: ChampionStatus | None
    window: dict[str, Any]
    verdicts: dict[str, str | None]
    metrics: dict[str, dict[str, Measure]]
    baselines: dict[str, dict[str, dict[str, Measure]]]
    parity: ParityStatus | None
    outcome: Outcome
    stages: dict[str, StageStatus]


class Status(Contract):
    schema_version: Literal[1] = Field(1, alias="schema", serialization_alias="schema")
    models: dict[str, ModelStatus]
