"""What things are called on the server. On one that others use too, the pool's name tells our things from theirs."""

from __future__ import annotations

from finetide.operate.notices import suffix

# Trainings at a time on this machine: two share the cores, and both take more than twice as long.
SLOTS = "training"
SHIFT_EVENT = "finetide.shift.detected"
WAITING_EVENT = "finetide.approval.wanted"
KINDS = ("retrain", "monitor")


def deployment_name(kind: str, model: str, pool: str) -> str:
    return f"{kind}-{model}{suffix(pool)}"


def slots_name(pool: str) -> str:
    return f"{pool}-{SLOTS}"
