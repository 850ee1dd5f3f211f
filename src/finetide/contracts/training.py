"""training.json: what train did and proved."""

from __future__ import annotations

from typing import Literal

from finetide.contracts.base import Contract
from finetide.contracts.window import Start


class PhaseReport(Contract):
    """``metric`` is the validation accuracy of the weights that the phase hands on; of an adapt phase, the share of
    masked tokens that it guesses right. ``decisions``: one line each,
    e.g. which precision and why, which L2 won, why the phase ended."""

    index: int
    kind: Literal["probe", "tune", "adapt", "average", "soup"]
    steps: int
    epochs: float
    rows_seen: int
    trainable: int
    frozen: int
    metric: float
    loss: float
    decisions: tuple[str, ...]


class TrainingReport(Contract):
    """``kept`` names the phase whose weights are the result: the best on validation, the earlier one on a tie."""

    schema_version: Literal[1] = 1
    labels: tuple[str, ...]
    start: Start
    start_hash: str
    train_rows: int
    validation_rows: int
    phases: tuple[PhaseReport, ...]
    kept: int
    sentence: str
    weights_sha256: str
    frozen_proof: dict[str, str]
    precision: str
