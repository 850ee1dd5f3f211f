from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from finetide.contracts.rows import ROW_COLUMNS
from finetide.data.table import COLUMNS, SCHEMA, frame, read_rows, write_rows
from finetide.errors import IntegrityError
from support.rows import table


def test_the_schema_holds_the_contracts_columns_and_the_text() -> None:
    assert (*ROW_COLUMNS, "text") == COLUMNS


def test_rows_come_back_as_written_with_nulls_and_without_further_columns(tmp_path: Path) -> None:
    rows = table([{"text": "hi", "label": None}, {"text": "", "label": "b", "split": "test", "group": "7"}])
    write_rows(rows.assign(extra=1), tmp_path / "rows.parquet")

    back = read_rows(tmp_path / "rows.parquet")

    pd.testing.assert_frame_equal(back, rows)
    assert back["label"].isna().tolist() == [True, False]
    assert pq.read_schema(tmp_path / "rows.parquet").equals(SCHEMA, check_metadata=True)


def test_two_writes_are_equal_byte_for_byte(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_rows(table([{"text": f"text {i}"} for i in range(50)]), tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_table_without_rows_keeps_its_types(tmp_path: Path) -> None:
    empty = frame({column: [] for column in COLUMNS})
    write_rows(empty, tmp_path / "rows.parquet")
    back, other = read_rows(tmp_path / "rows.parquet").dtypes, table([{"text": "x"}]).dtypes
    assert [str(kind) for kind in back] == [str(kind) for kind in other]


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(IntegrityError, match=r"torn.parquet: is not a readable Parquet file"):
        read_rows(tmp_path / "torn.parquet")
    pd.DataFrame({"text": ["x"]}).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(IntegrityError, match=r"does not have the columns of contracts.rows \(found 'text'\)"):
        read_rows(tmp_path / "other.parquet")
