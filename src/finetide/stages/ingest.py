"""Stage ingest: the window's files → rows.parquet."""

from __future__ import annotations

from finetide.config.ingest import IngestParams
from finetide.config.stage import Stage
from finetide.contracts.window import Window
from finetide.data.ingest import ingest
from finetide.data.table import write_rows


def run(stage: Stage) -> None:
    """Raises: DataError, IntegrityError: see `finetide.data.ingest.ingest`."""
    pinned = stage.dep("window.json")
    window = Window.read(pinned)
    ingested = ingest(window, pinned.parent / "raw", stage.section(IngestParams))
    write_rows(ingested.rows, stage.out("rows.parquet"))
    ingested.report().write(stage.out("ingest.json"))
