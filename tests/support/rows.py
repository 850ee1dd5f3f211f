"""Small tables of rows as ingest makes them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from finetide.data.table import COLUMNS, frame


def table(entries: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Rows from what matters in them; the rest is filled in: reference rows of a.csv, one after the other."""
    records: list[dict[str, Any]] = []
    lines: dict[str, int] = {}
    for entry in entries:
        file = entry.get("file", "a.csv")
        line = lines[file] = lines.get(file, 1) + 1
        record = {"file": file, "line": line, "row_id": f"{file}:{line}", "role": "reference", "label": "x", **entry}
        records.append(record)
    return frame({column: [record.get(column) for record in records] for column in COLUMNS})
