"""Lets a suspended run go on after a decision on the command line: what the dashboard's form does by itself."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Literal

from finetide.lifecycle import waiting
from finetide.operate.api import ask
from finetide.registry.git import open_repository

# Seconds before each try.
TRIES = (0.0, 2.0, 5.0)


def resume(root: Path, model: str, decision: Literal["approved", "rejected"], why: str, who: str | None) -> str:
    """Returns: what becomes of the run. The decision is recorded already and holds, whatever the server says."""
    found = waiting.read(root, model)
    if found is None:
        return "no run waits for this decision"
    form = {
        "decision": "approve" if decision == "approved" else "reject",
        "who": who or open_repository(root).who(),
        "why": why,
    }
    answer: Any = None
    for wait in TRIES:  # SQLite answers "service unavailable" while others write
        time.sleep(wait)
        if answer := ask(found.api, f"/flow_runs/{found.flow_run}/resume", {"run_input": form}, seconds=30):
            break
    if isinstance(answer, dict) and answer.get("status") == "ACCEPT":
        return f"the waiting run goes on: {found.api.removesuffix('/api')}/runs/flow-run/{found.flow_run}"
    return (
        f"the waiting run could not be told ({found.api} does not answer, or it ended); the next scheduled run sees it"
    )
