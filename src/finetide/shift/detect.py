"""The verdict: statistics, one combined p-value, and what they mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from finetide.contracts.shift import Cause, Recipe, ShiftVerdict, ShiftWord, Statistic
from finetide.seeding import generator
from finetide.shift import statistics
from finetide.shift.permute import assignments, combine, p_values
from finetide.shift.texts import figures

Array = np.ndarray[Any, Any]
# Label frequencies that differ by less are no reason to adapt, however sure the difference is.
SMALL_VARIATION = 0.1


@dataclass(frozen=True)
class Limits:
    """The numbers of params.yaml's shift section."""

    alpha: float
    permutations: int
    min_rows: int
    harmless_auc: float
    halt_auc: float
    min_labelled_share: float


@dataclass(frozen=True)
class Sample:
    """Both sides together, one entry a row. ``features`` [rows, hidden]; ``texts`` and ``groups`` may be absent."""

    incoming: Array
    features: Array
    labels: Sequence[str | None]
    texts: Sequence[str] | None
    groups: Sequence[str] | None


@dataclass(frozen=True)
class Sizes:
    """All rows of each side, of which the sample may hold a part; and the labels that only incoming rows have."""

    reference: int
    incoming: int
    labelled_share: float
    new_labels: tuple[str, ...]


def without_test(sizes: Sizes, limits: Limits) -> ShiftVerdict | None:
    """The verdict where there is nothing to compare; None when there is."""
    if sizes.incoming == 0:
        return _verdict("none", "nothing has arrived: there are no incoming rows", sizes, limits)
    smaller = min(sizes.incoming, sizes.reference)
    if smaller < limits.min_rows:
        side = "incoming" if sizes.incoming <= sizes.reference else "reference"
        sentence = f"cannot tell from {smaller} {side} rows: {limits.min_rows} would do (shift.min_rows)"
        return _verdict("cannot-tell", sentence, sizes, limits)
    return None


def detect(sample: Sample, sizes: Sizes, limits: Limits, seed: int) -> ShiftVerdict:
    """Compare the sides.

    Every statistic sees the same permutations, and min-p over them gives one p-value with false-alarm rate ``alpha``.
    """
    rng = generator(seed, "shift", "permutations")
    sides = assignments(sample.incoming, limits.permutations, rng, sample.groups)
    columns: dict[str, Array] = {}
    found: list[Statistic] = []
    auc = statistics.domain_auc(sample.features, sides, generator(seed, "shift", "folds"))
    columns["domain classifier"] = auc
    n, m = int(sample.incoming.sum()), int((~sample.incoming).sum())
    low, high = statistics.auc_interval(float(auc[0]), n, m)
    found.append(
        _statistic("domain classifier", auc, limits, "AUC", note="0.5: cannot tell them apart", span=(low, high))
    )
    columns["embeddings"] = statistics.mmd(sample.features, sides)
    found.append(_statistic("embeddings", columns["embeddings"], limits, "MMD²", note="RBF kernel, median bandwidth"))
    for name, values in (figures(sample.texts) if sample.texts is not None else {}).items():
        columns[name] = statistics.mean_difference(values, sides)
        change = statistics.signed_difference(values, sample.incoming)
        note = f"mean {values[~sample.incoming].mean():.3g} → {values[sample.incoming].mean():.3g} ({change:+.3g})"
        found.append(_statistic(name, columns[name], limits, "standard deviations", note=note))
    variation = _label_shift(sample, sides)
    if variation is not None:
        columns["label frequencies"] = variation
        found.append(
            _statistic("label frequencies", variation, limits, "total variation", note="labelled rows of both sides")
        )
    p = combine(list(columns.values()))
    return _decide(p, found, sizes, limits, sampled=(m, n))


def recipe(verdict: ShiftVerdict, replay: float) -> Recipe:
    """What train does. Without a shift to adapt to, all reference rows stay in."""
    if verdict.incoming_rows == 0:
        return Recipe(verdict=verdict.verdict, replay=1.0, reason="no incoming rows: train on all reference rows")
    reason = f"mix the incoming rows with {replay:.0%} of the reference rows (train.replay)"
    return Recipe(verdict=verdict.verdict, replay=replay, reason=reason)


def _label_shift(sample: Sample, sides: Array) -> Array | None:
    labelled = np.array([isinstance(label, str) for label in sample.labels])
    if not (labelled & sample.incoming).any() or not (labelled & ~sample.incoming).any():
        return None
    labels = [label for label in sample.labels if isinstance(label, str)]
    return statistics.total_variation(labels, sides[:, labelled])


def _statistic(
    name: str, values: Array, limits: Limits, unit: str, *, note: str, span: tuple[float, float] | None = None
) -> Statistic:
    """``detectable`` is the smallest effect that this test alone would call significant at these sizes."""
    detectable = float(np.quantile(values[1:], 1 - limits.alpha))
    low, high = span if span else (None, None)
    return Statistic(
        name=name,
        p=float(p_values(values)[0]),
        draws=len(values) - 1,
        effect=float(values[0]),
        unit=unit,
        low=low,
        high=high,
        detectable=detectable,
        note=note,
    )


def _decide(p: float, found: list[Statistic], sizes: Sizes, limits: Limits, sampled: tuple[int, int]) -> ShiftVerdict:
    by_name = {statistic.name: statistic for statistic in found}
    auc = by_name["domain classifier"]
    variation = by_name["label frequencies"].effect if "label frequencies" in by_name else 0.0
    significant = p < limits.alpha
    causes = _causes(found, sizes, limits) if significant or sizes.new_labels else ()
    told = (
        f"domain AUC {auc.effect:.2f} [{auc.low:.2f}, {auc.high:.2f}], "
        f"combined p of {len(found)} tests = {p:.3g} at α = {limits.alpha:g}"
    )
    word: ShiftWord
    if sizes.new_labels:
        word = "adapt"
        sentence = f"incoming rows bring new labels ({', '.join(sizes.new_labels[:5])}); {told}"
    elif not significant:
        word, sentence = "none", f"no shift found: {told}; a domain AUC above {auc.detectable:.2f} would have shown"
    elif auc.effect < limits.harmless_auc and variation < SMALL_VARIATION:
        word = "harmless"
        sentence = f"a real but small shift: {told}, below {limits.harmless_auc:g} (shift.harmless_auc)"
    elif auc.effect >= limits.halt_auc and sizes.labelled_share < limits.min_labelled_share:
        wanted = int(np.ceil(limits.min_labelled_share * sizes.incoming))
        word = "halt"
        sentence = (
            f"the incoming rows are another domain and only {sizes.labelled_share:.0%} of them are labelled: {told}; "
            f"label at least {wanted} of {sizes.incoming} rows"
        )
    else:
        word, sentence = "adapt", f"the incoming rows differ ({' and '.join(causes) or 'covariate'} shift): {told}"
    return _verdict(word, sentence, sizes, limits, p=p, causes=causes, statistics=tuple(found), sampled=sampled)


def _causes(found: list[Statistic], sizes: Sizes, limits: Limits) -> tuple[Cause, ...]:
    """Which kinds of shift the single statistics point to; Holm's step is left to the combined p-value above."""
    causes: list[Cause] = []
    if any(statistic.p < limits.alpha for statistic in found if statistic.name != "label frequencies"):
        causes.append("covariate")
    if any(statistic.p < limits.alpha for statistic in found if statistic.name == "label frequencies"):
        causes.append("label")
    if sizes.new_labels:
        causes.append("new-labels")
    return tuple(causes)


def _verdict(
    word: ShiftWord,
    sentence: str,
    sizes: Sizes,
    limits: Limits,
    *,
    p: float | None = None,
    causes: tuple[Cause, ...] = (),
    statistics: tuple[Statistic, ...] = (),
    sampled: tuple[int, int] = (0, 0),
) -> ShiftVerdict:
    return ShiftVerdict(
        verdict=word,
        sentence=sentence,
        alpha=limits.alpha,
        p=p,
        reference_rows=sizes.reference,
        incoming_rows=sizes.incoming,
        compared_reference=sampled[0],
        compared_incoming=sampled[1],
        labelled_share=sizes.labelled_share,
        causes=causes,
        statistics=statistics,
    )
