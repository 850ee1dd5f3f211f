"""Seconds, hosts and run ids: everything that may differ between two equal runs lives here and in no output.

One JSON line an event in ``.finetide/journal/MODEL.jsonl``. A line that is torn (a kill) or none of ours is skipped.
"""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from finetide.files import naming


def path_of(root: Path, model: str) -> Path:
    return root / ".finetide" / "journal" / f"{model}.jsonl"


def append(root: Path, model: str, **event: Any) -> None:
    """Add one line; a single write in append mode, so that two writers cannot mix their lines."""
    path = path_of(root, model)
    path.parent.mkdir(parents=True, exist_ok=True)
    line = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "host": platform.node(), "pid": os.getpid()}
    with naming(path), path.open("ab") as stream:
        stream.write((json.dumps({**line, **event}, ensure_ascii=False) + "\n").encode())


def read(root: Path, model: str) -> list[dict[str, Any]]:
    """All events, oldest first; empty without a journal."""
    try:
        lines = path_of(root, model).read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    events = []
    for line in lines:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict):
            events.append(event)
    return events


def seconds(root: Path, model: str) -> dict[str, float]:
    """Stage → how long its newest execution on this machine took; none of a stage that never ran here."""
    ran = (event for event in read(root, model) if "stage" in event and event.get("state") == "ran")
    return {str(event["stage"]): found for event in ran if isinstance(found := event.get("seconds"), (int, float))}


def last_of_stage(root: Path, model: str) -> dict[str, dict[str, Any]]:
    """Stage → its newest event."""
    return {event["stage"]: event for event in read(root, model) if "stage" in event}
