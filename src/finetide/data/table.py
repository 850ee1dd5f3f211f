"""The canonical table of rows on disk (contracts.rows): one schema, one way to write it, byte-equal every time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from finetide.errors import IntegrityError

# Arrow's own allocators keep what is freed: a million rows then take a third more memory.
pa.set_memory_pool(pa.system_memory_pool())

SCHEMA = pa.schema(
    [
        pa.field("row_id", pa.string(), nullable=False),
        pa.field("role", pa.string(), nullable=False),
        pa.field("file", pa.string(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),
        pa.field("label", pa.string()),
        pa.field("split", pa.string()),
        pa.field("group", pa.string()),
        pa.field("text", pa.string(), nullable=False),
    ]
)
COLUMNS: tuple[str, ...] = tuple(SCHEMA.names)


def frame(columns: Mapping[str, Any]) -> pd.DataFrame:
    """Rows as a data frame with the canonical columns and types, whatever is in them, no row at all included."""
    arrays = [_column(columns[field.name], field.type) for field in SCHEMA]
    made: pd.DataFrame = pa.Table.from_arrays(arrays, schema=SCHEMA).to_pandas()
    return made


def _column(values: Any, kind: pa.DataType) -> Any:
    return values.cast(kind) if isinstance(values, (pa.Array, pa.ChunkedArray)) else pa.array(values, type=kind)


def write_rows(rows: pd.DataFrame, path: Path) -> None:
    """Write the canonical columns of ``rows``; others stay behind. Missing values become Parquet nulls."""
    table = pa.Table.from_pandas(rows[list(COLUMNS)], schema=SCHEMA, preserve_index=False)
    # pandas' own metadata names its version: without it an upgrade of pandas changes no byte.
    pq.write_table(table.replace_schema_metadata(None), path, compression="zstd", version="2.6", row_group_size=1 << 17)


def read_rows(path: Path) -> pd.DataFrame:
    """Raises: IntegrityError when the file is not a table that `write_rows` wrote."""
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise IntegrityError(
            f"is not a readable Parquet file: {error}", where=path.name, fix="run its stage again: dvc repro"
        ) from error
    if not table.schema.equals(SCHEMA):
        raise IntegrityError(
            "does not have the columns of contracts.rows",
            where=path.name,
            found=", ".join(table.schema.names),
            fix="run its stage again: dvc repro",
        )
    rows: pd.DataFrame = table.to_pandas()
    return rows
