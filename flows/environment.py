"""Prefect's settings for a project, put into this process's environment.

Imported before Prefect is, because Prefect reads its environment once, on import.
"""

from __future__ import annotations

import os
from pathlib import Path

from finetide.operate.environment import defaults


def configure(root: Path) -> None:
    """Set what is not set yet; an existing server (``PREFECT_API_URL``) or home is left alone."""
    for name, value in defaults(root).items():
        os.environ.setdefault(name, value)
    Path(os.environ["PREFECT_HOME"]).mkdir(parents=True, exist_ok=True)  # Prefect makes the last folder only
