"""Stage ingest: the window's files → rows.parquet."""

from __future__ import annotations

from finetide.config.stage import Stage
from finetide.contracts.window import Window
from finetide.data import kinds
from finetide.data.payload import STORE
from finetide.data.table import write_rows


def run(stage: Stage) -> None:
    """Raises: DataError, IntegrityError: see `finetide.data.kinds.Source.ingest`."""
    source = kinds.source(stage.task)
    pinned = stage.dep("window.json")
    window = Window.read(pinned)
    store = stage.out(STORE) if STORE in stage.files.outs else None
    ingested = source.ingest(window, pinned.parent / "raw", stage.section(source.params), store)
    write_rows(ingested.rows, stage.out("rows.parquet"), source.schema)
    ingested.report().write(stage.out("ingest.json"))
