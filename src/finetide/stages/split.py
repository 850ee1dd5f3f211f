"""Stage split: clean.parquet → split.parquet, every row with its side, and leakage.json, the proof."""

from __future__ import annotations

from finetide.config.split import SplitParams
from finetide.config.stage import Stage
from finetide.data.leakage import check
from finetide.data.split import assign, texts_of
from finetide.data.table import read_rows, write_rows


def run(stage: Stage) -> None:
    """Raises: IntegrityError when clean.parquet is not what validate wrote."""
    rows = read_rows(stage.dep("clean.parquet"))
    texts = texts_of(rows)
    split = assign(rows, texts, stage.section(SplitParams), stage.seed)
    write_rows(split, stage.out("split.parquet"))
    check(split, rows["split"], texts).write(stage.out("leakage.json"))
