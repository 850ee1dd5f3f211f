"""Prefect's settings for a project: its state stays in the project's folder and nothing is reported anywhere.

Imported before Prefect is, because Prefect reads its environment once, on import.
"""

from __future__ import annotations

import os
from pathlib import Path


def configure(root: Path) -> None:
    """Set what is not set yet; an existing server (``PREFECT_API_URL``) or home is left alone."""
    defaults = {
        "PREFECT_HOME": str(root / ".finetide" / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        # A temporary server migrates its database on the first start, which takes longer than the 20 s allowed.
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "PREFECT_LOGGING_LEVEL": "INFO",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    Path(os.environ["PREFECT_HOME"]).mkdir(parents=True, exist_ok=True)  # Prefect makes the last folder only
