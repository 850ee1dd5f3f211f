"""How often the champion is right on incoming rows, as far as can be told without their labels."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from finetide.contracts.shift import ACCURACY, AccuracyEstimate, Statistic
from finetide.seeding import generator
from finetide.shift.sample import FEWEST_TAUGHT, Champion, Held, Sample, Taught

Array = np.ndarray[Any, Any]
# Each head is taught by half of the rows.
HEADS, STRENGTH = 8, 10.0
# Heads that fall out with each other by more than this on incoming rows stand on unknown ground (docs/lab-log.md,
# 2026-11-22). Two estimates that differ by more than DISAGREEMENT cannot both be right.
FALL, DISAGREEMENT = 0.03, 0.1
# A trusted estimate is this sure of itself, half of its interval.
WIDTH = 0.05
NORMAL, RESAMPLES = 1.96, 200


def estimate(sample: Sample, found: Sequence[Statistic], alpha: float, seed: int) -> AccuracyEstimate | None:
    """None without a champion, or without labelled reference rows that it was not trained on.

    The estimate is the mean of two whose errors tend to opposite sides (docs/benchmarks-estimates.md). One is ATC (Garg
    et al. 2022, eq. 2, with negative entropy): the share of incoming rows that the champion is more certain of than of
    as many reference rows as it gets wrong. The other is the accuracy on reference rows less what heads that were made
    alike, from halves of the same rows, agree less on incoming rows (after Jiang et al. 2022, "Assessing generalization
    of SGD via disagreement"); they are logistic regressions on the features. DoC (Guillory et al. 2021), accuracy less
    the fall of the mean confidence, stands beside. The interval is that of the rows on both sides; it knows nothing of
    whether the assumptions hold, for which ``trusted`` stands.
    """
    champion = sample.champion
    if champion is None:
        return None
    incoming = champion.scored & sample.incoming
    held, taught = sample.held or _held(sample, champion), sample.taught or _taught(sample, champion)
    if len(held.right) < 2 or not incoming.any():
        return None
    outputs = champion.outputs[incoming]
    sides = [held.features, sample.features[incoming]]
    agreed = agreement(taught, sides, seed) if taught is not None else (None, None)
    before = _Side(held.outputs, held.groups, agreed[0], held.right.astype(float))
    after = _Side(outputs, _only(sample.groups, incoming), agreed[1])
    by_threshold, by_agreement = _above(before, after), _agreeing(before, after)
    chance = generator(seed, "shift", "accuracy")
    drawn = [(before.drawn(chance), after.drawn(chance)) for _ in range(RESAMPLES)]
    deviation = float(np.std([_mean(*sides) for sides in drawn]))
    falling, error = None, 0.0
    if taught is not None:
        falling = float(before.agreed.mean() - after.agreed.mean())
        error = float(np.std([one.agreed.mean() - other.agreed.mean() for one, other in drawn]))
    doubt = (
        _labels_say({one.name: one for one in found}, alpha) or _unknown_ground(falling, error)
        or _unlike(by_threshold, by_agreement) or _wide(NORMAL * deviation, len(held.right))
    )  # fmt: skip
    value, labelled = _mean(before, after), incoming & sample.labelled
    by_confidence = before.right.mean() - (before.outputs.max(axis=1).mean() - outputs.max(axis=1).mean())
    return AccuracyEstimate(
        reference=float(before.right.mean()),
        estimated=value,
        low=float(np.clip(value - NORMAL * deviation, 0.0, 1.0)),
        high=float(np.clip(value + NORMAL * deviation, 0.0, 1.0)),
        by_threshold=by_threshold,
        by_agreement=by_agreement,
        by_confidence=float(np.clip(by_confidence, 0.0, 1.0)),
        held_rows=len(held.right),
        labelled=float(_right(sample, champion, labelled).mean()) if labelled.any() else None,
        trusted=doubt is None,
        reason=doubt or "heads made alike agree there as often as on the reference, and there are rows enough",
    )


class _Side:
    """Rows of one side: ``outputs`` [rows, labels], ``agreed`` [rows] or None, ``right`` [rows] of the reference."""

    def __init__(
        self, outputs: Array, groups: Sequence[str] | None, agreed: Array | None, right: Array | None = None
    ) -> None:
        self.outputs = outputs
        self.certain = (outputs * np.log(np.maximum(outputs, 1e-12))).sum(axis=1)
        self.right = np.zeros(0) if right is None else right
        self.agreed = np.zeros(0) if agreed is None else agreed
        codes = np.arange(len(outputs)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
        self.units = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])

    def drawn(self, chance: np.random.Generator) -> _Side:
        """A bootstrap sample of the units: rows of a group come together."""
        rows = np.concatenate([self.units[one] for one in chance.integers(0, len(self.units), len(self.units))])
        made = copy.copy(self)
        made.certain = self.certain[rows]
        made.right, made.agreed = (part[rows] if len(part) else part for part in (self.right, self.agreed))
        return made


def _mean(before: _Side, after: _Side) -> float:
    by_agreement = _agreeing(before, after)
    by_threshold = _above(before, after)
    return by_threshold if by_agreement is None else (by_threshold + by_agreement) / 2


def _agreeing(before: _Side, after: _Side) -> float | None:
    if not len(before.agreed):
        return None
    return float(np.clip(before.right.mean() - (before.agreed.mean() - after.agreed.mean()), 0.0, 1.0))


def _above(before: _Side, after: _Side) -> float:
    """ATC's share of incoming rows."""
    wrong = round(len(before.right) - before.right.sum())
    if not wrong:
        return 1.0
    return float((after.certain > np.partition(before.certain, wrong - 1)[wrong - 1]).mean())


def agreement(taught: Taught, sides: Sequence[Array], seed: int) -> list[Array]:
    """Of each row of each side the share of the pairs of heads that give it one label.

    Args: sides: features [rows, hidden] each.
    """
    from sklearn.linear_model import LogisticRegression

    chance = generator(seed, "shift", "heads")
    labels = np.asarray(taught.labels)
    x, sides = _of_length_one(taught.features), [_of_length_one(side) for side in sides]
    said: list[list[Array]] = [[] for _ in sides]
    for _ in range(HEADS):
        half = chance.permutation(len(labels))[: len(labels) // 2]
        while len(np.unique(labels[half])) < 2:  # of two labels, one may be rare
            half = chance.permutation(len(labels))[: len(labels) // 2]
        head = LogisticRegression(C=STRENGTH, max_iter=300).fit(x[half], labels[half])
        for place, side in enumerate(sides):
            said[place].append(head.predict(side))
    pairs = HEADS * (HEADS - 1) / 2
    return [
        sum(((one == other).astype(float) for place, one in enumerate(mine) for other in mine[:place]),
            np.zeros(len(mine[0]))) / pairs
        for mine in said
    ]  # fmt: skip


def _held(sample: Sample, champion: Champion) -> Held:
    """Those of the sample itself."""
    rows = champion.scored & sample.labelled & ~sample.incoming
    return Held(
        sample.features[rows], champion.outputs[rows], _right(sample, champion, rows), _only(sample.groups, rows)
    )


def _taught(sample: Sample, champion: Champion) -> Taught | None:
    rows = ~champion.scored & sample.labelled & ~sample.incoming
    labels = [label for label, here in zip(sample.labels, rows, strict=True) if here and label is not None]
    return Taught.of(sample.features[rows], labels)


def _right(sample: Sample, champion: Champion, rows: Array) -> Array:
    """[chosen rows] bool: whether the champion gives each its label."""
    truth = np.asarray([label or "" for label in sample.labels])[rows]
    found: Array = np.asarray(champion.labels)[champion.outputs[rows].argmax(axis=1)] == truth
    return found


def _only(groups: Sequence[str] | None, rows: Array) -> list[str] | None:
    return None if groups is None else [group for group, here in zip(groups, rows, strict=True) if here]


def _of_length_one(features: Array) -> Array:
    x = np.asarray(features, dtype=np.float64)
    found: Array = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return found


def _labels_say(by_name: dict[str, Statistic], alpha: float) -> str | None:
    accuracy = by_name.get(ACCURACY)
    if accuracy is not None and accuracy.adjusted < alpha:
        return f"labelled rows say otherwise: the champion is {accuracy.note}"
    return None


def _unknown_ground(fall: float | None, error: float) -> str | None:
    if fall is None:
        return f"fewer than {FEWEST_TAUGHT} labelled training rows of the reference to make heads from"
    if fall + error <= FALL:
        return None
    if fall > FALL:
        return f"heads made alike agree {100 * fall:.0f} points less often there than on the reference; label some rows"
    return f"too few rows to say whether heads made alike fall out there ({100 * fall:.0f} ± {100 * error:.0f} points)"


def _unlike(by_threshold: float, by_agreement: float | None) -> str | None:
    difference = abs(by_threshold - (by_threshold if by_agreement is None else by_agreement))
    if difference > DISAGREEMENT:
        return f"threshold and agreement differ by {100 * difference:.0f} points; label some incoming rows"
    return None


def _wide(width: float, held: int) -> str | None:
    if width > WIDTH:
        return f"it is sure to {100 * width:.0f} points only, by {held} held-out reference rows and these incoming ones"
    return None
