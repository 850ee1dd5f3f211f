"""Stage split: clean.parquet → split.parquet, every row with its side, and leakage.json, the proof."""

from __future__ import annotations

from finetide.config.split import SplitParams
from finetide.config.stage import Stage
from finetide.data import kinds
from finetide.data.leakage import check
from finetide.data.split import assign
from finetide.data.table import read_rows, write_rows


def run(stage: Stage) -> None:
    """Raises: IntegrityError when clean.parquet is not what validate wrote."""
    contents = kinds.contents(stage.task)
    rows = read_rows(stage.dep("clean.parquet"), contents.schema)
    texts = contents.of(rows)
    split = assign(rows, texts, stage.section(SplitParams), stage.seed)
    write_rows(split, stage.out("split.parquet"), contents.schema)
    check(split, rows["split"], texts, contents.words, contents.shows).write(stage.out("leakage.json"))
