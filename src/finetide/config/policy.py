"""params.yaml: models.MODEL.policy. No stage reads it: it decides between gate and train, outside the graph."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from finetide.config.base import Section


class PolicyParams(Section):
    retrain_on: list[Literal["none", "harmless", "adapt", "cannot-tell", "halt"]] = Field(
        min_length=1,
        description="shift verdicts that are worth a retraining when a champion is in service; on another verdict the "
        "incoming rows are acknowledged instead (halt applies after an approval)",
    )
