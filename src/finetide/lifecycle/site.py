"""`finetide report --site`: one folder of pages for all models, to be put on any web server or opened as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from finetide.files import write_text
from finetide.lifecycle import outputs
from finetide.lifecycle.why import decided_in
from finetide.pipeline import journal
from finetide.registry import history, ledger
from finetide.report import build
from finetide.report.site import ModelLine, index


def write(root: Path, models: Sequence[str], folder: Path) -> list[Path]:
    """Write ``index.html`` and a page a model that was ever run; other files in the folder stay.

    Args: root: the checkout's project. A model's page is of the place that decided last, a worktree or the checkout.
    """
    lines = [_line(root, model, folder) for model in models]
    write_text(folder / "index.html", index(root.name, lines))
    return [folder / "index.html", *(folder / line.page for line in lines if line.page)]


def _line(root: Path, model: str, folder: Path) -> ModelLine:
    entries = ledger.read(root, model)
    place = decided_in(root, model, entries)
    page = None
    if journal.read(place, model) or outputs.ingest(place, model) is not None:
        page = f"{model}.html"
        write_text(folder / page, build(place, model))
    champion, move = history.champion(entries), history.last_move(entries)
    newest = entries[-1] if entries else None
    return ModelLine(
        name=model,
        version=champion.version if champion else None,
        since=move.time if move else "",
        why=move.reason if move else "",
        latest=f"{newest.event}, {newest.time}: {newest.reason}" if newest else "",
        page=page,
        entries=entries[::-1],
    )
