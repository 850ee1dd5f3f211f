"""Test rows as labels come now, where a model was corrected for it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from finetide.files import sha256_bytes


def thinned(test: pd.DataFrame, priors: Mapping[str, float]) -> pd.DataFrame:
    """All incoming rows, and of the reference rows as many of each label as its frequency asks for now.

    A hash of the row's id chooses, so that rows stay independent and the choice stays the same. Of the label that has
    become most frequent all rows are kept.

    Args: priors: see `finetide.contracts.shift.Recipe`.
    """
    most = max((priors.get(label, 1.0) for label in test["label"]), default=1.0)
    share = np.array([priors.get(label, 1.0) / most for label in test["label"]])
    drawn = np.array([int(sha256_bytes(f"thin {one}".encode())[:8], 16) / 0x100000000 for one in test["row_id"]])
    return test[(test["role"] == "incoming").to_numpy() | (drawn < share)]
