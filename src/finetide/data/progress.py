"""How far something long has come, for a person who watches: nothing before three seconds, nothing into a file."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm


def bar(what: str, total: int | None, unit: str) -> tqdm[Any]:
    """A bar to be closed, or used with ``with``; ``update(n)`` moves it on."""
    return tqdm(
        desc=what,
        total=total,
        unit=unit,
        unit_scale=True,
        delay=3,
        leave=False,
        file=sys.stderr,
        disable=not sys.stderr.isatty(),
    )
