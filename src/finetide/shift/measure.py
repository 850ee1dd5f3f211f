"""Every statistic of the comparison: its null distribution over shared draws, its effect and how sure that is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from finetide.contracts.shift import ACCURACY
from finetide.seeding import generator
from finetide.shift import statistics
from finetide.shift.permute import Draws
from finetide.shift.sample import Champion, Sample

Array = np.ndarray[Any, Any]
Weighted = Callable[[Array, Array], Array]
RESAMPLES = 200
# What rounding makes of statistics that are 0 in every draw.
NOTHING = 1e-12
DOMAIN, EMBEDDINGS, UNSEEN = "domain classifier", "embeddings", "unseen inputs"
OUTPUTS, LABELS = "champion's outputs", "label frequencies"
# These two need labels; a shift of any other is one of the inputs.
OF_LABELS = (ACCURACY, LABELS)


@dataclass(frozen=True)
class Measured:
    """``values`` [draws + 1], the observed one first, larger is more extreme; ``deviation``: standard error of the
    observed one; ``sizes``: incoming and reference rows; ``bounds``: between which every value lies."""

    name: str
    unit: str
    note: str
    values: Array
    deviation: float
    sizes: tuple[int, int]
    bounds: tuple[float, float]


@dataclass(frozen=True)
class Comparison:
    """``scores`` [rows]: out of fold, higher is more like incoming; ``a``, ``b`` [resamples, rows]: bootstrap weights
    of the incoming and the reference side."""

    draws: Draws
    measured: tuple[Measured, ...]
    scores: Array
    a: Array
    b: Array


def compare(sample: Sample, permutations: int, seed: int) -> Comparison:
    """Everything that can be computed from what ``sample`` has."""
    draws = Draws.make(sample.incoming, permutations, generator(seed, "shift", "permutations"), sample.groups)
    resampled = draws.resamples(RESAMPLES, generator(seed, "shift", "resamples"))
    a, b = resampled * sample.incoming, resampled * ~sample.incoming
    everyone = np.ones(len(sample.incoming), dtype=bool)
    sides = draws.sides_of(everyone)
    found, scores = _of_features(sample, sides, a, b, seed)

    def add(name: str, unit: str, note: str, rows: Array, weighted: Weighted, bounds: tuple[float, float]) -> None:
        here = sides if rows.all() else draws.sides_of(rows)
        values = weighted(here.astype(float), (~here).astype(float))
        if np.ptp(values) > NOTHING:  # a figure that all rows share tells nothing
            deviation = float(weighted(a[:, rows], b[:, rows]).std())
            found.append(Measured(name, unit, note, values, deviation, _sizes(here[0]), bounds))

    for name, values in sample.figures.items():
        _add_figure(add, name, values, sample.incoming, everyone)
    labelled = sample.labelled
    if _both_sides(labelled, sample.incoming):
        codes = np.unique([label for label in sample.labels if isinstance(label, str)], return_inverse=True)[1]
        note = "total variation of the labelled rows of both sides"
        add(LABELS, "share", note, labelled, lambda x, y: statistics.total_variation(codes, x, y), (0.0, 1.0))
    if sample.champion is not None:
        _add_champion(add, sample, sample.champion, labelled)
    return Comparison(draws, tuple(found), scores, a, b)


def _of_features(sample: Sample, sides: Array, a: Array, b: Array, seed: int) -> tuple[list[Measured], Array]:
    sizes = _sizes(sides[0])
    scores = statistics.domain_scores(sample.features, sides, generator(seed, "shift", "folds"))
    auc = statistics.auc(scores, sides)
    note = "0.5: the sides cannot be told apart"
    deviation = float(statistics.weighted_auc(scores[:, 0], a, b).std())
    found = [Measured(DOMAIN, "AUC", note, auc, deviation, sizes, (0.0, 1.0))]
    kernel = statistics.kernel(sample.features)
    values = statistics.mmd(kernel, sides)
    deviation = statistics.mmd_deviation(kernel, sides[0], float(values[1:].std()))
    found.append(Measured(EMBEDDINGS, "MMD²", "RBF kernel, median bandwidth", values, deviation, sizes, (-2.0, 2.0)))
    shares, beyond = statistics.unseen(sample.features, sides)
    deviation = float(((a @ beyond) / np.maximum(1, a.sum(axis=1))).std())
    note = f"incoming rows further from the reference than {1 - statistics.UNSEEN:.0%} of its own rows are"
    found.append(Measured(UNSEEN, "share", note, shares, deviation, sizes, (0.0, 1.0)))
    return found, scores[:, 0]


def _add_figure(add: Callable[..., None], name: str, values: Array, incoming: Array, everyone: Array) -> None:
    before, after = values[~incoming].mean(), values[incoming].mean()
    note = f"mean {before:.3g} → {after:.3g} ({after - before:+.3g})"
    most = (0.0, float("inf"))
    add(name, "standard deviations", note, everyone, lambda a, b: statistics.mean_difference(values, a, b), most)


def _add_champion(add: Callable[..., None], sample: Sample, champion: Champion, labelled: Array) -> None:
    if _both_sides(champion.scored, sample.incoming):
        outputs = champion.outputs[champion.scored]
        note = "largest Kolmogorov-Smirnov distance of a label's probability"
        add(OUTPUTS, "KS", note, champion.scored, lambda a, b: statistics.largest_gap(outputs, a, b), (0.0, 1.0))
    rows = champion.scored & labelled
    if _both_sides(rows, sample.incoming):
        truth = np.asarray([str(label) for label in sample.labels])[rows]
        right = (np.asarray(champion.labels)[champion.outputs[rows].argmax(axis=1)] == truth).astype(float)
        incoming = sample.incoming[rows]
        note = f"right on {right[~incoming].mean():.1%} of reference, {right[incoming].mean():.1%} of incoming rows"
        add(ACCURACY, "drop", note, rows, lambda a, b: statistics.drop(right, a, b), (-1.0, 1.0))


def _both_sides(rows: Array, incoming: Array) -> bool:
    """At least two rows of either side: of one there is no variance."""
    return bool((rows & incoming).sum() > 1 and (rows & ~incoming).sum() > 1)


def _sizes(sides: Array) -> tuple[int, int]:
    return int(sides.sum()), int((~sides).sum())
