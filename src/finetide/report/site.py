"""The first page of a static site: all models, what is in service, and all that was ever decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from finetide.contracts.ledger import LedgerEntry
from finetide.report.page import environment, style


@dataclass(frozen=True)
class ModelLine:
    """``page``: file name of the model's report in the site; None where nothing was run. ``entries``: of the ledger,
    the newest first."""

    name: str
    version: str | None
    since: str
    why: str
    latest: str
    page: str | None
    entries: Sequence[LedgerEntry]


def index(title: str, models: Sequence[ModelLine]) -> str:
    """The page; it loads nothing, and what came from data or people is escaped."""
    template = environment(Path(__file__).parent).get_template("site.html")
    return template.render(title=title, models=models, style=style())
