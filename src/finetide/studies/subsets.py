"""Smaller training sets inside larger ones, label by label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from finetide.contracts.rows import content_columns
from finetide.errors import InputError
from finetide.files import sha256_bytes


def parse_shares(text: str) -> tuple[float, ...]:
    """``0.01,0.1,1`` → the shares in rising order, each once. Raises: InputError."""
    found = set()
    for part in text.split(","):
        try:
            share = float(part)
        except ValueError:
            share = float("nan")
        if not 0 < share <= 1:
            raise InputError(
                "a share of the training labels is above 0 and at most 1",
                where="--shares",
                found=part.strip(),
                fix="e.g. --shares 0.01,0.1,1; 5 percent is 0.05",
            )
        found.add(share)
    return tuple(sorted(found))


def subset(rows: pd.DataFrame, share: float, seed: int) -> pd.DataFrame:
    """So many of the rows of each label, rounded, and at least one; in the order of ``rows``.

    A hash of seed and content orders the rows of a label, and the first ones are taken: what is in a smaller share is
    in every larger one, and a row keeps its place when others come, go, or change places.

    Raises: InputError for a share that is less than one row.
    """
    if share * len(rows) < 1:
        raise InputError(
            f"leaves no row: there are {len(rows)} labelled training rows",
            where="--shares",
            found=share,
            fix=f"at least {1 / len(rows):.2g}",
        )
    order = _order(rows, seed)
    rank = order.groupby(rows["label"]).rank(method="first") - 1
    wanted = rows.groupby("label")["label"].transform("size").map(lambda count: max(1, int(share * count + 0.5)))
    return rows[rank < wanted].reset_index(drop=True)


def sizes(rows: pd.DataFrame, shares: Sequence[float], seed: int) -> list[int]:
    return [len(subset(rows, share, seed)) for share in shares]


def _order(rows: pd.DataFrame, seed: int) -> pd.Series:
    """Place of each row among all, by the hash; rows with the same content by their id."""
    # Not the hash that chose the replayed rows (stages.train): those left are the low ones, and would come first.
    payload = content_columns(rows.columns)
    digests = [
        sha256_bytes("\x1f".join(["study", str(seed), *map(str, row)]).encode())
        for row in rows[payload].itertuples(index=False)
    ]
    places = pd.DataFrame({"digest": digests, "row_id": list(rows["row_id"])}, index=rows.index)
    ordered = places.sort_values(["digest", "row_id"], kind="stable")
    return pd.Series(np.arange(len(rows)), index=ordered.index).reindex(rows.index)
