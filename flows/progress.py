"""Training as a bar on the dashboard: made of the lines that the train stage prints at each tenth of the way."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import create_progress_artifact, update_progress_artifact

_STEP = re.compile(r"^(?P<what>[^:]+): step (?P<done>\d+)/(?P<total>\d+), (?P<rest>.+)$")


def parse(line: str) -> tuple[str, float, str] | None:
    """Phase, percent and the rest (epoch, loss, time left) of a line of `engine.progress`; None for any other line."""
    found = _STEP.match(line.strip())
    if found is None:
        return None
    return found["what"], 100.0 * int(found["done"]) / max(1, int(found["total"])), found["rest"]


class Bars:
    """One bar a phase. What goes wrong with the server must not stop a training."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.bars: dict[str, UUID] = {}

    def see(self, line: str) -> None:
        found = parse(line)
        if found is None:
            return
        phase, percent, rest = found
        said = f"{self.model}, {phase}: {rest}"
        try:
            if phase in self.bars:
                update_progress_artifact(self.bars[phase], progress=percent, description=said)
            else:
                made: Any = create_progress_artifact(percent, key=f"{self.model}-training", description=said)
                self.bars[phase] = made
        except Exception as error:
            get_run_logger().warning("the dashboard does not show this step: %s", error)
