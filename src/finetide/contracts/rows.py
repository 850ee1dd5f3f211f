"""The canonical table of rows, as ingest writes it and every later stage reads it (Parquet).

``row_id``  ``FILE:LINE``, FILE relative to data/MODEL/raw, LINE the physical line (CSV, JSONL) or row (Parquet) from 1
``role``    reference or incoming
``file``, ``line``   where the row came from
``label``   string or null (incoming rows may lack it)
``split``   what the user's split column says (train, validation, test) or null; after the split stage: never null
``group``   the user's group column as string, or null
The family adds its payload, for text classification ``text``. A payload that is no words, or more than words, has the
columns ``digest`` (equal where the content is the same) and ``name`` (what a person reads of a row).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

Role = Literal["reference", "incoming"]
Split = Literal["train", "validation", "test"]

ROLES: tuple[Role, ...] = ("reference", "incoming")
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
ROW_COLUMNS = ("row_id", "role", "file", "line", "label", "split", "group")


def content_columns(columns: Iterable[str]) -> list[str]:
    """Those that say what a row holds, and by which rows are told apart."""
    names = list(columns)
    return ["digest"] if "digest" in names else [name for name in names if name not in ROW_COLUMNS]


def said_columns(columns: Iterable[str]) -> list[str]:
    """Those with words of a person, in the order in which they are read; none where a payload is no words."""
    names = list(columns)
    return [name for name in ("text", "question", "context") if name in names]


def shown_columns(columns: Iterable[str]) -> list[str]:
    """Those that a person reads of a row."""
    names = list(columns)
    return ["name"] if "digest" in names else [name for name in names if name not in ROW_COLUMNS]
