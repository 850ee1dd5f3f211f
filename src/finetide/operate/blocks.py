"""The notification blocks of Prefect's server that params.yaml names: Slack, mail, a webhook and what else it knows."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from finetide.errors import InputError, ToolError
from finetide.operate.api import ask

# Seconds before each try.
TRIES = (0.0, 2.0, 5.0)
Schedules = Mapping[str, Any]


def wanted(schedules: Schedules) -> dict[str, list[str]]:
    """Model → the blocks that its notices go to. Args: schedules: of params.yaml, by model."""
    return {model: schedule["notify"]["blocks"] for model, schedule in schedules.items()}


def are_wanted(schedules: Schedules) -> bool:
    """Whether the server has to reach somebody outside."""
    return any(wanted(schedules).values())


def find(api: str, named: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The id of each block, by TYPE/NAME. Args: named: by model.

    Raises: ToolError when the server does not say. InputError naming those that it lacks, and those that it has.
    """
    if not any(named.values()):
        return {}
    found = None
    for wait in TRIES:  # one that has just started is busy registering the blocks that it knows
        time.sleep(wait)
        question = {"block_schemas": {"block_capabilities": {"all_": ["notify"]}}}
        found = ask(api, "/block_documents/filter", question, seconds=30)
        if isinstance(found, list):
            break
    if not isinstance(found, list):
        raise ToolError("did not say which notification blocks it has", where=api, fix="finetide up again")
    there = {f"{one['block_type']['slug']}/{one['name']}": str(one["id"]) for one in found}
    for model, names in named.items():
        if missing := [name for name in names if name not in there]:
            raise InputError(
                f"the server has no such notification block; it has {', '.join(sorted(there)) or 'none'}",
                where=f"params.yaml: models.{model}.schedule.notify.blocks",
                found=", ".join(missing),
                fix=f"make it on {api.removesuffix('/api')}/blocks/catalog, or take it out, then finetide up",
            )
    return {name: there[name] for names in named.values() for name in names}
