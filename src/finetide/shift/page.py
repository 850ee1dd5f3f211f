"""shift.html: one page for a browser that says what was found and why; everything inline, nothing fetched."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from finetide.contracts.shift import Recipe, ShiftVerdict
from finetide.shift import plot, power
from finetide.shift.detect import Limits
from finetide.shift.measure import DOMAIN

Array = np.ndarray[Any, Any]
TEMPLATE = "shift_page.html"
# Sizes at which the power is drawn beside the window's own: what people ask about.
SIZES = (50, 200, 1000)
EFFECTS = tuple(np.linspace(0.5, 0.8, 31).tolist())
MEANING = {
    "none": "The incoming rows look like the reference.",
    "harmless": "Something moved, by too little to matter.",
    "adapt": "The incoming rows differ: train on them.",
    "halt": "The incoming rows are another domain; label some before anything is trained.",
    "cannot-tell": "Too few rows to say yes or no.",
}


@dataclass(frozen=True)
class Pictures:
    """Images as PNG. ``moved``: one for each of the verdict's moved rows; ``reference``: some, to compare."""

    moved: Sequence[bytes]
    reference: Sequence[bytes]


def render(
    model: str, verdict: ShiftVerdict, recipe: Recipe, limits: Limits, features: Array | None, incoming: Array,
    pictures: Pictures | None = None,
) -> str:  # fmt: skip
    """The page as a whole. Texts of rows are escaped: they may hold markup of any kind.

    Args: features [rows, hidden] with incoming [rows] bool; None where nothing was compared. pictures: where rows are
        images.
    """
    environment = Environment(
        loader=PackageLoader("finetide.shift", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE).render(
        model=model,
        verdict=verdict,
        meaning=MEANING[verdict.verdict],
        recipe=recipe,
        limits=limits,
        embedding_map=None if features is None else _inline(plot.embedding_map(features, incoming)),
        power_curves=_inline(plot.power_curves(*curves(verdict, limits))) if verdict.statistics else None,
        sampled=sampled(verdict),
        seen=None if pictures is None else [_inline(one) for one in pictures.moved],
        beside=[] if pictures is None else [_inline(one) for one in pictures.reference],
        most=max((max(one.reference, one.incoming or 0, one.estimated or 0) for one in verdict.labels), default=1.0),
    )


def curves(verdict: ShiftVerdict, limits: Limits) -> tuple[tuple[float, ...], dict[str, list[float]], float, float]:
    """Effects (domain AUC), name → power at each of them, the AUC that matters, and the AUC that was found."""
    auc = next(one for one in verdict.statistics if one.name == DOMAIN)
    own = (auc.incoming_rows, auc.reference_rows)
    named = {f"this window: {own[0]} against {own[1]}": own}
    named |= {f"{size} against {own[1]}": (size, own[1]) for size in SIZES if size != own[0]}
    drawn = {name: power.curve(auc.critical, own, at, EFFECTS) for name, at in named.items()}
    return EFFECTS, drawn, limits.harmless_auc, auc.effect


def sampled(verdict: ShiftVerdict) -> str:
    """What the rows that were left out would have shown; empty where none were."""
    own = (verdict.compared_incoming, verdict.compared_reference)
    every = (verdict.incoming_rows, verdict.reference_rows)
    auc = next((one for one in verdict.statistics if one.name == DOMAIN), None)
    if auc is None or own == every:
        return ""
    with_all = power.detectable(auc.critical, own, every)
    return (
        f"features of a sample only (shift.max_rows): a domain AUC of {auc.detectable:.3f} would have shown in 8 of 10 "
        f"such windows, with all rows one of {with_all:.3f}"
    )


def _inline(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
