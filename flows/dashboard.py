"""What the dashboard is told. It is a view: a server that is away, or comes back anew, must not end a run.

Prefect's client asks a server again that it has met before, and gives up at once on one that it has not; each artifact
has a client of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx
from prefect import get_run_logger

# Seconds before each try: a server that is started again answers within half a minute.
TRIES = (0.0, 2.0, 5.0, 10.0, 20.0)
# Keys of what is missing since a server was last reached; what follows is tried once and not waited for.
_missing: list[str] = []


def publish(create: Callable[..., Any], *args: Any, key: str, **kwargs: Any) -> None:
    """Make an artifact, or say in the log that it is missing. The next run shows it; the report has it in any case.

    Args: create: one of Prefect's ``create_*_artifact``, with its arguments.
    """
    error: httpx.HTTPError | None = None
    for wait in TRIES[:1] if _missing else TRIES:
        time.sleep(wait)
        try:
            create(*args, key=key, **kwargs)
        except httpx.HTTPError as found:
            error = found
        else:
            _missing.clear()
            return
    _missing.append(key)
    get_run_logger().warning("the dashboard does not show %s: %s", key, error)
