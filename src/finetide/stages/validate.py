"""Stage validate: rows.parquet → quality.json, and the rows that may be used. It succeeds whatever it finds; the gate
reads the verdict."""

from __future__ import annotations

from finetide.base import resolve
from finetide.config.stage import Stage
from finetide.config.validate import LengthParams
from finetide.contracts.window import Window
from finetide.data import kinds
from finetide.data.csv_text import csv_text
from finetide.data.expectations import read_suite
from finetide.data.page import render
from finetide.data.quality import Asked
from finetide.data.table import read_rows, write_rows
from finetide.files import write_text


def run(stage: Stage) -> None:
    """Raises: DataError for a suite that cannot be run, BaseModelError when the base is not what was pinned."""
    checks = kinds.checks(stage.task)
    asked = Asked(
        suite=read_suite(stage.dep("suite.json")),
        params=stage.section(checks.params),
        base=resolve(stage.base, stage.root),
        max_length=stage.section(LengthParams, "train").max_length,
        first_window=Window.read(stage.dep("window.json")).champion is None,
    )
    quality = checks.assess(read_rows(stage.dep("rows.parquet"), checks.schema), asked)
    write_rows(quality.clean, stage.out("clean.parquet"), checks.schema)
    quarantine = quality.quarantine
    write_text(stage.out("quarantine.csv"), csv_text(list(quarantine.columns), quarantine.to_numpy(object)))
    write_text(stage.out("quality.html"), render(quality.verdict, stage.model))
    quality.verdict.write(stage.out("quality.json"))
