"""The canonical table of rows on disk (contracts.rows): one schema, one way to write it, byte-equal every time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from finetide.data.memory import give_back
from finetide.errors import IntegrityError

# Where Arrow was loaded before us (see the package's first lines).
pa.set_memory_pool(pa.system_memory_pool())

COMMON = pa.schema(
    [
        pa.field("row_id", pa.string(), nullable=False),
        pa.field("role", pa.string(), nullable=False),
        pa.field("file", pa.string(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),
        pa.field("label", pa.string()),
        pa.field("split", pa.string()),
        pa.field("group", pa.string()),
    ]
)
# Of text; other families bring their own payload (`data.kinds`).
SCHEMA = COMMON.append(pa.field("text", pa.string(), nullable=False))
COLUMNS: tuple[str, ...] = tuple(SCHEMA.names)
# Columns of few different values: in memory a number a row, in the file strings as the others.
CATEGORIES: tuple[str, ...] = ("role", "file", "label", "split", "group")
ROW_GROUP = 1 << 17


def frame(columns: Mapping[str, Any], schema: pa.Schema = SCHEMA) -> pd.DataFrame:
    """Rows as a data frame with the canonical columns and types, whatever is in them, no row at all included.
    `CATEGORIES` are categorical columns."""
    return pd.DataFrame({field.name: _series(columns[field.name], field) for field in schema}, copy=False)


def _series(values: Any, field: pa.Field) -> Any:
    if not isinstance(values, (pa.Array, pa.ChunkedArray)):
        values = pa.array(values, type=field.type)
    if field.name not in CATEGORIES:
        return values.cast(field.type).to_pandas()
    coded = values if pa.types.is_dictionary(values.type) else values.cast(field.type).dictionary_encode()
    whole = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
    words = pd.Index(whole.dictionary.to_pylist(), dtype="str")
    return pd.Series(pd.Categorical.from_codes(whole.indices.fill_null(-1).to_numpy(zero_copy_only=False), words))


def strings(column: pd.Series[Any]) -> pd.Series[str]:
    """A column of `CATEGORIES` as strings: sorted and counted as such, values that no row has left out."""
    return column.astype("str")


def counted(column: pd.Series[Any]) -> pd.Series[int]:
    """Rows of each value, the most frequent first, equally many by their first row. The column is not made strings."""
    codes, words = pd.factorize(column)
    counts = pd.Series(np.bincount(codes[codes >= 0], minlength=len(words)), pd.Index(words.astype("str")))
    return counts.sort_values(ascending=False, kind="stable")


def write_rows(rows: pd.DataFrame, path: Path, schema: pa.Schema = SCHEMA) -> None:
    """Write the canonical columns of ``rows``; others stay behind. Missing values become Parquet nulls."""
    with pq.ParquetWriter(path, schema, compression="zstd", version="2.6") as writer:
        for some in _row_groups(rows, schema):
            writer.write_table(some, row_group_size=ROW_GROUP)


def _row_groups(rows: pd.DataFrame, schema: pa.Schema) -> Iterator[pa.Table]:
    """One Arrow table a row group; all of them at once would be the rows once more."""
    for start in range(0, max(len(rows), 1), ROW_GROUP):
        some = {name: rows[name].iloc[start : start + ROW_GROUP] for name in schema.names}
        arrays = [_array(some[field.name], field.type) for field in schema]
        yield pa.Table.from_arrays(arrays, schema=schema)


def _array(column: pd.Series[Any], kind: pa.DataType) -> Any:
    if isinstance(column.dtype, pd.CategoricalDtype):
        words = pa.array(column.cat.categories, type=kind)
        codes = column.cat.codes.to_numpy(np.int32)
        return words.take(pa.array(codes, mask=codes < 0))
    return pa.array(column, type=kind)


def read_rows(path: Path, schema: pa.Schema = SCHEMA) -> pd.DataFrame:
    """Raises: IntegrityError when the file is not a table that `write_rows` wrote."""
    try:
        found = pq.read_schema(path)
        if found.equals(schema):
            with pq.ParquetFile(path, read_dictionary=list(CATEGORIES)) as file:
                # One after the other: Arrow's and pandas' shape of a column stand side by side while it is read.
                parts = {field.name: _series(file.read([field.name])[field.name], field) for field in schema}
            give_back()
            return pd.DataFrame(parts, copy=False)
    except (pa.ArrowInvalid, OSError) as error:
        raise IntegrityError(
            f"is not a readable Parquet file: {error}", where=path.name, fix="run its stage again: dvc repro"
        ) from error
    raise IntegrityError(
        "does not have the columns of contracts.rows",
        where=path.name,
        found=", ".join(found.names),
        fix="run its stage again: dvc repro",
    )
