"""One picture of both sets: where they lie, how long their texts are, how often each label comes."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

Array = np.ndarray[Any, Any]
# Okabe & Ito's palette tells apart for colour-blind readers too.
COLOURS = {"reference": "#0072B2", "incoming": "#D55E00"}
MAX_LABELS = 12


def picture(title: str, incoming: Array, features: Array | None, lengths: Array, labels: Sequence[str | None]) -> bytes:
    """PNG bytes, equal for equal input.

    Args: incoming [rows] bool; features [rows, hidden], or None to leave the map out; lengths in words [rows].
    """
    figure, axes = plt.subplots(1, 3, figsize=(13, 4.6), dpi=100, gridspec_kw={"width_ratios": [1.1, 0.9, 1.2]})
    sides = [("reference", ~incoming), ("incoming", incoming)]
    _map(axes[0], features, sides)
    _lengths(axes[1], lengths, sides)
    _labels(axes[2], labels, sides)
    figure.suptitle(title if len(title) < 130 else f"{title[:127]}…", fontsize=11, x=0.01, ha="left")
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
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


def _lengths(axis: Axes, lengths: Array, sides: list[tuple[str, Array]]) -> None:
    axis.set_title("Length in words", fontsize=9)
    top = float(np.quantile(lengths, 0.99)) if len(lengths) else 1.0
    bins = np.linspace(0, max(top, 1.0), 25).tolist()
    for name, rows in sides:
        if rows.any():
            weights = np.full(int(rows.sum()), 1 / rows.sum())
            axis.hist(np.minimum(lengths[rows], top), bins=bins, weights=weights, color=COLOURS[name], alpha=0.55)
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
