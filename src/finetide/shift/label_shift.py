"""How often each label comes among incoming rows, counted where they are labelled and estimated where they are not."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from finetide.contracts.shift import LabelShare
from finetide.shift.measure import Comparison
from finetide.shift.permute import p_values
from finetide.shift.sample import Sample

Array = np.ndarray[Any, Any]
# A confusion matrix whose smallest singular value is a smaller part of its largest tells noise, not labels.
CONDITION = 0.02


class Estimate:
    """Black-box shift estimation (Lipton, Wang and Smola 2018, §3): what the champion predicts on incoming rows is a
    mixture of what it predicts on each label's reference rows, and solving for the mixture gives the label frequencies.

    Right as long as each label's rows look as they did. With the champion's probabilities instead of its labels, which
    varies less.
    """

    def __init__(self, sample: Sample, comparison: Comparison) -> None:
        champion = sample.champion
        assert champion is not None
        self.labels = champion.labels
        place = {label: index for index, label in enumerate(champion.labels)}
        codes = np.array([place.get(str(label), -1) for label in sample.labels])
        known = champion.scored & ~sample.incoming & (codes >= 0)
        self._outputs, self._scored, self._comparison = champion.outputs, champion.scored, comparison
        self._onehot = np.eye(len(self.labels))[codes] * known[:, None]
        confusion, frequencies = self._confusion(known.astype(float))
        self.frequencies = frequencies
        spread = np.linalg.svd(confusion, compute_uv=False)
        self.can_tell = bool(known.any() and (frequencies > 0).all() and spread[-1] >= CONDITION * spread[0])
        if self.can_tell:
            incoming = (champion.scored & sample.incoming).astype(float)
            self.estimated = self._solve(confusion, frequencies, incoming)
            self.ratio = self.estimated / frequencies
            resampled = [
                self._solve(*self._confusion(b * known), a)
                for a, b in zip(comparison.a, comparison.b, strict=True)
                if ((b * known) @ self._onehot > 0).all()
            ]
            found = np.asarray(resampled) if resampled else self.estimated[None]
            self.low, self.high = np.quantile(found, [0.025, 0.975], axis=0)
            self.p = self._p(confusion, frequencies)

    def _confusion(self, weights: Array) -> tuple[Array, Array]:
        """[predicted, label] of joint frequencies, and the label frequencies. Args: weights [rows] of the reference."""
        joint = (self._outputs * weights[:, None]).T @ self._onehot / max(1e-12, weights.sum())
        return joint, (weights @ self._onehot) / max(1e-12, weights.sum())

    def _solve(self, confusion: Array, frequencies: Array, weights: Array) -> Array:
        predicted = weights @ self._outputs / max(1e-12, weights.sum())
        ratio = np.maximum(0.0, np.linalg.lstsq(confusion, predicted, rcond=None)[0])
        total = float((ratio * frequencies).sum())
        return ratio * frequencies / total if total > 0 else frequencies

    def _p(self, confusion: Array, frequencies: Array) -> float:
        """Whether the estimated frequencies differ between the sides, by permutation with the confusion held fixed."""
        sides = self._comparison.draws.sides_of(self._scored).astype(float)
        outputs = self._outputs[self._scored]
        difference = sides @ outputs / np.maximum(1, sides.sum(axis=1, keepdims=True)) - (1 - sides) @ outputs / (
            np.maximum(1, (1 - sides).sum(axis=1, keepdims=True))
        )
        ratio = np.linalg.lstsq(confusion, difference.T, rcond=None)[0]
        return float(p_values(0.5 * np.abs(ratio * frequencies[:, None]).sum(axis=0))[0])


def estimate(sample: Sample, comparison: Comparison) -> Estimate | None:
    """None without a champion, or with one whose errors do not tell the labels apart."""
    if sample.champion is None or not (sample.champion.scored & ~sample.incoming).any():
        return None
    found = Estimate(sample, comparison)
    return found if found.can_tell else None


def shares(sample: Sample, found: Estimate | None) -> tuple[LabelShare, ...]:
    """One a label of either side, the most frequent first."""
    counts = {
        side: Counter(
            label
            for label, incoming in zip(sample.labels, sample.incoming, strict=True)
            if isinstance(label, str) and bool(incoming) == side
        )
        for side in (False, True)
    }
    reference, incoming = counts[False], counts[True]
    place = {label: index for index, label in enumerate(found.labels)} if found else {}

    def share(label: str) -> LabelShare:
        at = place.get(label)
        known = found is not None and at is not None
        return LabelShare(
            label=label,
            reference=reference[label] / max(1, reference.total()),
            incoming=incoming[label] / incoming.total() if incoming else None,
            estimated=float(found.estimated[at]) if found and known else None,
            low=float(found.low[at]) if found and known else None,
            high=float(found.high[at]) if found and known else None,
        )

    together = reference + incoming
    return tuple(share(label) for label in sorted(together, key=lambda label: (-together[label], label)))
