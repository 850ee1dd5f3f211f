"""Learning rate by step."""

from __future__ import annotations

import math


def factor(step: int, total: int, *, schedule: str, warmup_share: float) -> float:
    """Share of the peak rate at optimizer step ``step`` (from 0) of ``total``.

    It rises linearly over the first ``warmup_share`` of the steps, then stays (constant), or falls to 0 after the last
    step in a line (linear) or along half a cosine (cosine).
    """
    warmup = round(total * warmup_share)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    done = (step - warmup) / max(1, total - warmup)
    if schedule == "constant":
        return 1.0
    if schedule == "linear":
        return 1.0 - done
    return 0.5 * (1.0 + math.cos(math.pi * done))
