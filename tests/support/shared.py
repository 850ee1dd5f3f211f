"""Real data sets that lie beside the checkout on some machines; tests on them are skipped elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2].parent / "shared" / "data"


def shared_data(*parts: str) -> Path:
    """Path of ``../shared/data/PARTS``; skips the calling test, with the reason, when it is not there."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"needs the data set {'/'.join(parts)} in {SHARED}, which is not on this machine")
    return path
