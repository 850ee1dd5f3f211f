"""Pictures of both sets: where they lie, how long their texts are, the labels, what would have shown."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Array = np.ndarray[Any, Any]
# Okabe & Ito's palette tells apart for colour-blind readers too.
COLOURS = {"reference": "#0072B2", "incoming": "#D55E00"}
MAX_LABELS = 12


def picture(
    title: str, incoming: Array, features: Array | None, shown: tuple[str, Array], labels: Sequence[str | None]
) -> bytes:
    """PNG bytes, equal for equal input.

    Args: incoming [rows] bool; features [rows, hidden], or None to leave the map out; shown: title and values [rows] of
        the histogram, none below 0.
    """
    figure, axes = plt.subplots(1, 3, figsize=(13, 4.6), dpi=100, gridspec_kw={"width_ratios": [1.1, 0.9, 1.2]})
    sides = [("reference", ~incoming), ("incoming", incoming)]
    _map(axes[0], features, sides)
    _histogram(axes[1], *shown, sides)
    _labels(axes[2], labels, sides)
    figure.suptitle(title if len(title) < 130 else f"{title[:127]}…", fontsize=11, x=0.01, ha="left")
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return _png(figure)


def embedding_map(features: Array, incoming: Array) -> bytes:
    """PNG bytes. Args: features [rows, hidden]; incoming [rows] bool."""
    figure, axis = plt.subplots(figsize=(5.6, 4.4), dpi=110)
    _map(axis, features, [("reference", ~incoming), ("incoming", incoming)])
    axis.set_title("")
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return _png(figure)


def power_curves(effects: Sequence[float], power: Mapping[str, Sequence[float]], matters: float, found: float) -> bytes:
    """PNG bytes. Args: effects: domain AUCs; power: name → chance to be found at each, the window's own first."""
    figure, axis = plt.subplots(figsize=(5.6, 4.4), dpi=110)
    for place, (name, values) in enumerate(power.items()):
        own = place == 0
        colour = COLOURS["incoming"] if own else str(0.75 - 0.15 * place)
        axis.plot(effects, values, color=colour, lw=2.4 if own else 1.3, label=name, zorder=3 if own else 2)
    axis.axvline(matters, color="#555", lw=1, ls="--")
    axis.text(matters, 1.03, "matters", fontsize=8, ha="center", color="#555")
    if found <= max(effects):
        axis.axvline(found, color=COLOURS["incoming"], lw=1, ls=":")
        axis.text(found, 1.08, "found", fontsize=8, ha="center", color=COLOURS["incoming"])
    axis.axhline(0.8, color="#ccc", lw=0.8, zorder=1)
    axis.set_xlabel("size of the shift (domain AUC)", fontsize=9)
    axis.set_ylabel("share of such windows in which it is found", fontsize=9)
    axis.set_xlim(min(effects), max(effects))
    axis.set_ylim(0, 1.02)
    axis.tick_params(labelsize=8)
    axis.legend(fontsize=8, frameon=False, loc="lower right")
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return _png(figure)


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    plt.close(figure)
    return stream.getvalue()


def _map(axis: Axes, features: Array | None, sides: list[tuple[str, Array]]) -> None:
    axis.set_title("Embedding map (first two principal components)", fontsize=9)
    axis.set_xticks([])
    axis.set_yticks([])
    if features is None:
        axis.text(0.5, 0.5, "nothing to compare", ha="center", va="center", transform=axis.transAxes, color="#777")
        return
    centred = features - features.mean(axis=0)
    directions = np.linalg.svd(centred, full_matrices=False)[2][:2]
    # The sign of a component is arbitrary; fix it, so that equal data gives the equal picture.
    signs = np.sign(directions[np.arange(2), np.abs(directions).argmax(axis=1)])
    places = centred @ (directions * signs[:, None]).T
    for name, rows in sides:
        axis.scatter(
            places[rows, 0],
            places[rows, 1],
            s=9,
            alpha=0.55,
            color=COLOURS[name],
            label=f"{name} ({rows.sum()})",
            linewidths=0,
        )
    axis.legend(fontsize=8, frameon=False)


def _histogram(axis: Axes, title: str, values: Array, sides: list[tuple[str, Array]]) -> None:
    axis.set_title(title, fontsize=9)
    top = float(np.quantile(values, 0.99)) if len(values) else 1.0
    bins = np.linspace(0, max(top, 1.0), 25).tolist()
    for name, rows in sides:
        if rows.any():
            weights = np.full(int(rows.sum()), 1 / rows.sum())
            axis.hist(np.minimum(values[rows], top), bins=bins, weights=weights, color=COLOURS[name], alpha=0.55)
    axis.set_ylabel("share of rows", fontsize=8)
    axis.tick_params(labelsize=8)


def _labels(axis: Axes, labels: Sequence[str | None], sides: list[tuple[str, Array]]) -> None:
    counts = {
        name: Counter(label for label, here in zip(labels, rows, strict=True) if here and isinstance(label, str))
        for name, rows in sides
    }
    together = counts["reference"] + counts["incoming"]
    shown = sorted(together, key=lambda label: (-together[label], label))[:MAX_LABELS]
    more = f" ({MAX_LABELS} of {len(together)})" if len(together) > MAX_LABELS else ""
    axis.set_title(f"Label frequencies{more}", fontsize=9)
    places = np.arange(len(shown))
    for offset, (name, _) in zip((-0.2, 0.2), sides, strict=True):
        total = sum(counts[name].values())
        if total:
            axis.barh(places + offset, [counts[name][label] / total for label in shown], 0.38, color=COLOURS[name])
    axis.set_yticks(places, [label if len(label) < 26 else f"{label[:24]}…" for label in shown], fontsize=8)
    axis.invert_yaxis()
    axis.tick_params(axis="x", labelsize=8)
