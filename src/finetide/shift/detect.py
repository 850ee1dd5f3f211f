"""The verdict: statistics, one combined p-value, and what they mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from finetide.contracts.shift import ACCURACY, Cause, LabelShare, ShiftVerdict, ShiftWord, Statistic
from finetide.shift import accuracy, causes, label_shift, moved, overlap, power
from finetide.shift.measure import DOMAIN, FIGURE, LABELS, UNSEEN, compare
from finetide.shift.permute import adjusted
from finetide.shift.sample import Sample

# Label frequencies that differ by less, or fewer unseen inputs, beyond what chance gives, are no reason to adapt,
# however sure the difference is.
SMALL_SHARE = 0.1
# Figures that the sentence names; the page has them all.
MOVED_MOST = 2


@dataclass(frozen=True)
class Limits:
    """The numbers of params.yaml's shift section, with its alarm budget as ``alpha``."""

    alpha: float
    permutations: int
    min_rows: int
    harmless_auc: float
    halt_auc: float
    min_labelled_share: float
    harmless_drop: float | None = None


@dataclass(frozen=True)
class Sizes:
    """All rows of each side, of which the sample may hold a part; and the labels that only incoming rows have.

    ``asks``: whether `finetide label-requests` can ask for labels: a row's answer is one label.
    """

    reference: int
    incoming: int
    labelled_share: float
    new_labels: tuple[str, ...]
    asks: bool = True


def without_test(sizes: Sizes, limits: Limits) -> ShiftVerdict | None:
    """The verdict where there is nothing to compare; None when there is."""
    if sizes.incoming == 0:
        return _untested("none", "nothing has arrived: there are no incoming rows", sizes, limits, None)
    smaller = min(sizes.incoming, sizes.reference)
    if smaller < limits.min_rows:
        side = "incoming" if sizes.incoming <= sizes.reference else "reference"
        sentence = f"cannot tell from {smaller} {side} rows: {limits.min_rows} would do (shift.min_rows)"
        return _untested("cannot-tell", sentence, sizes, limits, limits.min_rows)
    return None


def detect(sample: Sample, sizes: Sizes, limits: Limits, seed: int) -> ShiftVerdict:
    """Compare the sides.

    Every statistic sees the same permutations, and min-p over them gives one p-value with false-alarm rate ``alpha``.
    """
    comparison = compare(sample, limits.permutations, seed)
    corrected = adjusted([one.values for one in comparison.measured])
    found = [power.describe(one, p, limits.alpha) for one, p in zip(comparison.measured, corrected, strict=True)]
    estimated = label_shift.estimate(sample, comparison)
    p = min(corrected)
    names: list[Cause] = []
    reasons: list[str] = []
    if p < limits.alpha:
        names, reasons = causes.find(sample, comparison, found, estimated, limits.alpha, seed)
    if sizes.new_labels:
        names.append("new-labels")
        reasons.append(f"new-labels: {', '.join(sizes.new_labels[:5])} on incoming rows only")
    shares = label_shift.shares(sample, estimated)
    word, sentence, needed = _decide(p, found, sizes, limits, names, shares)
    return ShiftVerdict(
        verdict=word,
        sentence=sentence,
        alpha=limits.alpha,
        p=p,
        reference_rows=sizes.reference,
        incoming_rows=sizes.incoming,
        compared_reference=int((~sample.incoming).sum()),
        compared_incoming=int(sample.incoming.sum()),
        rows_needed=needed,
        labelled_share=sizes.labelled_share,
        causes=tuple(names),
        reasons=tuple(reasons),
        statistics=tuple(found),
        moved=moved.rows(sample, comparison),
        slices=moved.slices(sample, comparison),
        labels=shares,
        accuracy=accuracy.estimate(sample, found, limits.alpha, seed),
        overlap=overlap.effective_share(overlap.odds(comparison.scores, sample.incoming), sample.incoming),
    )


def _decide(
    p: float,
    found: Sequence[Statistic],
    sizes: Sizes,
    limits: Limits,
    names: Sequence[str],
    shares: Sequence[LabelShare],
) -> tuple[ShiftWord, str, int | None]:
    """The word, the sentence, and the rows that would do where the word is cannot-tell."""
    by_name = {statistic.name: statistic for statistic in found}
    auc = by_name[DOMAIN]
    told = (
        f"domain AUC {auc.effect:.2f} [{auc.low:.2f}, {auc.high:.2f}], "
        f"combined p of {len(found)} tests = {p:.3g} at α = {limits.alpha:.3g}"
    )
    label = _moved_label(found, shares, limits.alpha) if "label" in names else []
    moves = "".join(f"{one}; " for one in [*_unseen(by_name, limits.alpha), *label, *_moved_most(found, limits.alpha)])
    seen = moves + (f"the champion is {by_name[ACCURACY].note}; " if ACCURACY in by_name else "")
    if sizes.new_labels:
        return "adapt", f"incoming rows bring new labels ({', '.join(sizes.new_labels[:5])}); {told}", None
    if p >= limits.alpha:
        return _nothing_found(auc, limits, told)
    if auc.effect < limits.harmless_auc and not _matters(by_name, limits.alpha):
        sentence = f"a real but small shift: {seen}{told}, below {limits.harmless_auc:g} (shift.harmless_auc)"
        return "harmless", sentence, None
    if kept := _as_often_right(by_name, sizes, limits):
        return "harmless", f"{kept}, though the incoming rows differ ({' and '.join(names)} shift): {moves}{told}", None
    if auc.effect >= limits.halt_auc and sizes.labelled_share < limits.min_labelled_share:
        wanted = int(np.ceil(limits.min_labelled_share * sizes.incoming))
        share = sizes.labelled_share
        labelled = f"only {share:.0%} of them are labelled" if share else "none of them is labelled"
        ask = " (finetide label-requests writes those that tell most)" if sizes.asks else ""
        sentence = (
            f"the incoming rows are another domain and {labelled}: "
            f"{seen}{told}; label at least {wanted} of {sizes.incoming} rows{ask}"
        )
        return "halt", sentence, None
    return "adapt", f"the incoming rows differ ({' and '.join(names)} shift): {seen}{told}", None


def _moved_most(found: Sequence[Statistic], alpha: float) -> list[str]:
    """What a person can see in the rows themselves, most first."""
    sure = [one for one in found if one.unit == FIGURE and one.adjusted < alpha]
    return [f"{one.name}: {one.note}" for one in sorted(sure, key=lambda one: -one.effect)[:MOVED_MOST]]


def _unseen(by_name: dict[str, Statistic], alpha: float) -> list[str]:
    """The share of rows unlike any known one, where it is more than is small."""
    one = by_name[UNSEEN]
    many = one.adjusted < alpha and one.effect - one.expected >= SMALL_SHARE
    return [f"{one.effect:.0%} of them are unlike any known row"] if many else []


def _moved_label(found: Sequence[Statistic], shares: Sequence[LabelShare], alpha: float) -> list[str]:
    """The one whose share moved most, counted where that told, else by the champion's estimate."""
    counted = any(one.name == LABELS and one.adjusted < alpha for one in found)
    moved = [(one, one.incoming if counted else one.estimated) for one in shares]
    most = max(((one, now) for one, now in moved if now is not None), key=lambda of: abs(of[1] - of[0].reference),
               default=None)  # fmt: skip
    if most is None:
        return []
    one, now = most
    return [
        f"label {one.label!r}: {one.reference:.0%} → {now:.0%}" + ("" if counted else " by the champion's estimate")
    ]


def _nothing_found(auc: Statistic, limits: Limits, told: str) -> tuple[ShiftWord, str, int | None]:
    """Not to have found a shift says something only where one that matters would have been found."""
    if auc.detectable <= limits.harmless_auc:
        seen = f"a domain AUC of {auc.detectable:.2f} would have shown in 8 of 10 such windows"
        return "none", f"no shift found: {told}; {seen}", None
    seen = f"only from a domain AUC of {auc.detectable:.2f} on would 8 of 10 such windows have shown it"
    if limits.harmless_auc <= 0.5:
        return "none", f"no shift found: {told}; {seen}", None
    rows, both = power.rows_needed(auc.detectable, limits.harmless_auc, auc.incoming_rows, auc.reference_rows)
    sentence = (
        f"cannot tell from {auc.incoming_rows} incoming and {auc.reference_rows} reference rows: no shift found, but "
        f"{seen}, and {limits.harmless_auc:g} would matter (shift.harmless_auc); about {rows} "
        f"{'rows on either side' if both else 'incoming rows'} would do; {told}"
    )
    return "cannot-tell", sentence, rows


def _matters(by_name: dict[str, Statistic], alpha: float) -> bool:
    """Whether labels moved or inputs are unseen by more than is small, or the champion has become worse.

    A tenth of rows from elsewhere moves the domain AUC by no more than 0.05.
    """
    sure = {name: one for name, one in by_name.items() if one.adjusted < alpha}
    large = [sure[name].effect - sure[name].expected >= SMALL_SHARE for name in (LABELS, UNSEEN) if name in sure]
    return any(large) or ACCURACY in sure


def _as_often_right(by_name: dict[str, Statistic], sizes: Sizes, limits: Limits) -> str:
    """By the labels of incoming rows: what the champion lost at most, if that is too little to matter; else empty."""
    accuracy = by_name.get(ACCURACY)
    if accuracy is None or limits.harmless_drop is None or sizes.labelled_share < limits.min_labelled_share:
        return ""
    if accuracy.high >= limits.harmless_drop or accuracy.adjusted < limits.alpha:
        return ""
    lost = (
        f"lost at most {100 * accuracy.high:.1f}"
        if accuracy.high > 0
        else f"gained at least {-100 * accuracy.high:.1f}"
    )
    return (
        f"the champion is as often right ({accuracy.note}; it {lost} points, "
        f"{100 * limits.harmless_drop:g} would matter: shift.harmless_drop)"
    )


def _untested(word: ShiftWord, sentence: str, sizes: Sizes, limits: Limits, needed: int | None) -> ShiftVerdict:
    return ShiftVerdict(
        verdict=word,
        sentence=sentence,
        alpha=limits.alpha,
        p=None,
        reference_rows=sizes.reference,
        incoming_rows=sizes.incoming,
        compared_reference=0,
        compared_incoming=0,
        rows_needed=needed,
        labelled_share=sizes.labelled_share,
        causes=(),
        reasons=(),
        statistics=(),
        moved=(),
        slices=(),
        labels=(),
        accuracy=None,
    )
