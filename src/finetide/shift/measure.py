"""Every statistic of the comparison: its null distribution over shared draws, its effect and how sure that is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from finetide.contracts.shift import ACCURACY
from finetide.seeding import generator
from finetide.shift import statistics
from finetide.shift.features import UNSEEN as SHARE_UNSEEN
from finetide.shift.features import Domain, Mmd, Unseen
from finetide.shift.permute import Draws, View
from finetide.shift.sample import Champion, Sample

Array = np.ndarray[Any, Any]
Weighted = Callable[[Array, Array], Array]
RESAMPLES = 200
# What rounding makes of statistics that are 0 in every draw.
NOTHING = 1e-12
DOMAIN, EMBEDDINGS, UNSEEN = "domain classifier", "embeddings", "unseen inputs"
OUTPUTS, LABELS = "champion's outputs", "label frequencies"
# The unit of what can be told of a row by itself: its words, its brightness.
FIGURE = "standard deviations"
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


@dataclass(frozen=True)
class _Asked:
    """A statistic to be evaluated. ``values``: of [ways, rows of the view] bool; ``deviation``: of the observed value,
    given all values; ``always``: also where all draws give the same, which tells nothing of a figure."""

    name: str
    unit: str
    note: str
    view: View
    values: Callable[[Array], Array]
    deviation: Callable[[Array], float]
    bounds: tuple[float, float]
    always: bool = False


def compare(sample: Sample, permutations: int, seed: int) -> Comparison:
    """Everything that can be computed from what ``sample`` has."""
    wide = sample.wide
    sides, groups = (sample.incoming, sample.groups) if wide is None else (wide.incoming, wide.groups)
    whole = Draws.make(sides, permutations, generator(seed, "shift", "permutations"), groups)
    draws = whole if wide is None else whole.of(wide.places)
    resampled = np.concatenate(list(draws.resamples(RESAMPLES, generator(seed, "shift", "resamples"))))
    a, b = resampled * sample.incoming, resampled * ~sample.incoming
    everyone = draws.view(np.ones(len(sample.incoming), dtype=bool))
    domain = Domain(sample.features, generator(seed, "shift", "folds"))
    scores = domain.scores(sample.incoming[None])[:, 0]
    asked = [*_of_features(sample, domain, scores, everyone, a, b, seed)]

    def add(name: str, unit: str, note: str, rows: Array, weighted: Weighted) -> None:
        view = everyone if rows.all() else draws.view(rows)

        def deviation(_: Array) -> float:
            return float(weighted(a[:, rows], b[:, rows]).std())

        bounds = (-1.0, 1.0) if name == ACCURACY else (0.0, 1.0)
        asked.append(_Asked(name, unit, note, view, _of_sides(weighted), deviation, bounds))

    asked += _of_figures(sample, whole, everyone, a, b, seed)
    labelled = sample.labelled
    if _both_sides(labelled, sample.incoming):
        codes = np.unique([label for label in sample.labels if isinstance(label, str)], return_inverse=True)[1]
        note = "total variation of the labelled rows of both sides"
        add(LABELS, "share", note, labelled, lambda x, y: statistics.total_variation(codes, x, y))
    if sample.champion is not None:
        _add_champion(add, sample, sample.champion, labelled)
    found = []
    for one, values in zip(asked, whole.evaluate([(one.view, one.values) for one in asked]), strict=True):
        if one.always or np.ptp(values) > NOTHING:
            deviation = one.deviation(values)
            found.append(Measured(one.name, one.unit, one.note, values, deviation, _sizes(one.view.sides), one.bounds))
    return Comparison(draws, tuple(found), scores, a, b)


def _of_sides(weighted: Weighted) -> Callable[[Array], Array]:
    return lambda sides: weighted(sides.astype(float), (~sides).astype(float))


def _of_features(
    sample: Sample, domain: Domain, scores: Array, view: View, a: Array, b: Array, seed: int
) -> Iterator[_Asked]:
    yield _Asked(
        DOMAIN, "AUC", "0.5: the sides cannot be told apart", view,
        lambda sides: statistics.auc(domain.scores(sides), sides),
        lambda _: float(statistics.weighted_auc(scores, a, b).std()), (0.0, 1.0), always=True,
    )  # fmt: skip
    mmd = Mmd(sample.features, generator(seed, "shift", "kernel"))
    yield _Asked(
        EMBEDDINGS, "MMD²", mmd.note, view, mmd.values,
        lambda values: mmd.deviation(sample.incoming, float(values[1:].std())), (-2.0, 2.0), always=True,
    )  # fmt: skip
    unseen = Unseen(sample.features, generator(seed, "shift", "neighbours"))

    def deviation(_: Array) -> float:
        beyond = unseen.beyond(sample.incoming)
        return float(((a @ beyond) / np.maximum(1, a.sum(axis=1))).std())

    note = f"incoming rows further from the reference than {1 - SHARE_UNSEEN:.0%} of its own rows are"
    yield _Asked(UNSEEN, "share", note, view, unseen.values, deviation, (0.0, 1.0), always=True)


def _of_figures(sample: Sample, whole: Draws, view: View, a: Array, b: Array, seed: int) -> Iterator[_Asked]:
    """Of all rows, where there are more than the sample has."""
    wide = sample.wide
    figures, incoming = (sample.figures, sample.incoming) if wide is None else (wide.figures, wide.incoming)
    if wide is not None and figures:
        view = whole.view(np.ones(len(incoming), dtype=bool))
    spread: dict[str, float] = {}

    def deviation(name: str) -> float:
        if wide is None:
            return float(statistics.mean_difference(figures[name], a, b).std())
        if not spread:  # all at once: to resample all rows is what takes the time
            parts = [
                [statistics.mean_difference(values, times * incoming, times * ~incoming) for values in figures.values()]
                for times in whole.resamples(RESAMPLES, generator(seed, "shift", "resamples", "all rows"))
            ]
            together = np.concatenate(parts, axis=1).std(axis=1)
            spread.update(zip(figures, map(float, together), strict=True))
        return spread[name]

    for name, values in figures.items():
        before, after = values[~incoming].mean(), values[incoming].mean()
        note = f"mean {before:.3g} → {after:.3g} ({after - before:+.3g})"
        yield _Asked(
            name, FIGURE, note, view,
            _of_sides(partial(statistics.mean_difference, values)),
            lambda _, name=name: deviation(name), (0.0, float("inf")),  # type: ignore[misc]
        )  # fmt: skip


def _add_champion(add: Callable[..., None], sample: Sample, champion: Champion, labelled: Array) -> None:
    if _both_sides(champion.scored, sample.incoming):
        outputs = champion.outputs[champion.scored]
        note = "largest Kolmogorov-Smirnov distance of a label's probability"
        add(OUTPUTS, "KS", note, champion.scored, lambda a, b: statistics.largest_gap(outputs, a, b))
    rows = champion.scored & labelled
    if _both_sides(rows, sample.incoming):
        truth = np.asarray([str(label) for label in sample.labels])[rows]
        right = (np.asarray(champion.labels)[champion.outputs[rows].argmax(axis=1)] == truth).astype(float)
        incoming = sample.incoming[rows]
        note = f"right on {right[~incoming].mean():.1%} of reference, {right[incoming].mean():.1%} of incoming rows"
        add(ACCURACY, "drop", note, rows, lambda a, b: statistics.drop(right, a, b))


def _both_sides(rows: Array, incoming: Array) -> bool:
    """At least two rows of either side: of one there is no variance."""
    return bool((rows & incoming).sum() > 1 and (rows & ~incoming).sum() > 1)


def _sizes(sides: Array) -> tuple[int, int]:
    return int(sides.sum()), int((~sides).sum())
