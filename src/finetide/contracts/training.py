"""training.json: what train did and proved."""

from __future__ import annotations

from typing import Literal

from finetide.contracts.base import Contract
from finetide.contracts.shift import StepKind
from finetide.contracts.window import Start


class PhaseReport(Contract):
    """``metric`` is the validation accuracy of the weights that the phase hands on; of an adapt phase, the share of
    masked tokens that it guesses right. ``adopted`` is no training: the model came with its head. ``decisions``: one
    line each, e.g. which precision and why, which L2 won, why the phase ended."""

    index: int
    kind: Literal["probe", "tune", "adapt", "average", "soup", "correct", "adopted"]
    steps: int
    epochs: float
    rows_seen: int
    trainable: int
    frozen: int
    metric: float
    loss: float
    decisions: tuple[str, ...]


class FollowedStep(Contract):
    """What became of a step of the recipe. ``kept``: whether the result has it; null where it changes no weight."""

    kind: StepKind
    kept: bool | None
    said: str


class Forgetting(Contract):
    """Validation accuracy by role of the champion, of what training came to and of what is kept, which has ``share`` of
    the champion's weights. ``margin`` is what reference rows may lose."""

    margin: float
    share: float
    champion: dict[str, float]
    trained: dict[str, float]
    kept: dict[str, float]
    said: str


class TrainingReport(Contract):
    """``kept`` names the phase whose weights are the result: the best on validation, the earlier one on a tie.
    ``followed`` and ``forgetting`` are of the recipe, where training follows one."""

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
    followed: tuple[FollowedStep, ...] = ()
    forgetting: Forgetting | None = None
