"""The quality verdict as one page for a browser: everything inline, nothing fetched."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from finetide.contracts.quality import QualityVerdict

TEMPLATE = "quality_page.html"


def render(verdict: QualityVerdict, model: str) -> str:
    """The page as a whole. Texts of rows are escaped: they may hold markup of any kind."""
    environment = Environment(
        loader=PackageLoader("finetide.data", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE).render(model=model, verdict=verdict, bars=_bars(verdict))


def _bars(verdict: QualityVerdict) -> list[dict[str, Any]]:
    """One line a label: its rows in each role, and what share of the longest bar that is."""
    labels = list(verdict.labels)
    labels += sorted({label for counts in verdict.counts.values() for label in counts} - set(labels))
    most = max((count for counts in verdict.counts.values() for count in counts.values()), default=1)
    return [
        {
            "label": label,
            "roles": [
                {"role": role, "count": counts.get(label, 0), "percent": f"{100 * counts.get(label, 0) / most:.1f}"}
                for role, counts in verdict.counts.items()
            ],
        }
        for label in labels
    ]
