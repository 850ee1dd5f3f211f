"""The encoders of text that the families know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from finetide.base import SHIFTED_POSITIONS
from finetide.errors import BaseModelError

# Encoders whose outputs, positions and padding are known here. A decoder would load too, and pool nonsense.
ENCODERS = frozenset(
    {"bert", "camembert", "deberta-v2", "distilbert", "electra", "modernbert", "mpnet", "roberta", "xlm-roberta"}
)
WITHOUT_SDPA = frozenset({"deberta-v2", "mpnet"})


def attention(config: Any) -> str:
    """The implementation that the encoder has."""
    return "eager" if config.model_type in WITHOUT_SDPA else "sdpa"


def check_architecture(weights: Path, task: str) -> None:
    """Raises: BaseModelError: ``task`` does not know it."""
    found = json.loads((weights / "config.json").read_text(encoding="utf-8")).get("model_type")
    if found not in ENCODERS:
        raise BaseModelError(
            f"{task} does not know this architecture",
            where=str(weights / "config.json"),
            found=found,
            fix=f"use one of: {', '.join(sorted(ENCODERS))}",
        )


def check_length(config: Any, max_length: int, weights: Path) -> None:
    """Raises: BaseModelError: the encoder takes fewer tokens."""
    limit = int(config.max_position_embeddings)
    offset = int(config.pad_token_id or 0) + 1 if config.model_type in SHIFTED_POSITIONS else 0
    if max_length > limit - offset:
        raise BaseModelError(
            f"takes at most {limit - offset} tokens",
            where=str(weights),
            found=max_length,
            fix="lower train.max_length",
        )
