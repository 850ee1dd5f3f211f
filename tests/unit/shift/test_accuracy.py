"""Accuracy without labels: right where what the champion says keeps its meaning, not trusted where it need not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from finetide.contracts.shift import AccuracyEstimate
from finetide.shift.detect import Limits, Sizes, detect
from finetide.shift.sample import Champion, Sample

LIMITS = Limits(alpha=0.05, permutations=99, min_rows=20, harmless_auc=0.7, halt_auc=0.9, min_labelled_share=0.5)


def made(spread: float = 1.0, *, seed: int = 0, held: int = 400, rows: int = 400) -> tuple[Sample, float]:
    """A calibrated champion of two labels on one feature, and its accuracy on the incoming rows, whose labels are left
    out. ``spread``: of the incoming rows' feature; below 1 they lie nearer to the boundary."""
    rng = np.random.default_rng(seed)
    incoming = np.arange(rows + 400) < rows
    x = rng.normal(size=(rows + 400, 5))
    x[incoming, 0] *= spread
    sure = 1 / (1 + np.exp(-3 * x[:, 0]))
    truth = rng.random(len(x)) < sure
    scored = incoming | (np.arange(len(x)) >= len(x) - held)
    labels = [None if here else "ab"[int(one)] for here, one in zip(incoming, truth, strict=True)]
    right = (sure > 0.5) == truth
    champion = Champion(("a", "b"), np.column_stack([1 - sure, sure]), scored)
    return Sample(incoming, x, labels, champion=champion), float(right[incoming].mean())


def found(sample: Sample) -> AccuracyEstimate | None:
    return detect(sample, Sizes(400, 400, 0.0, ()), LIMITS, seed=1).accuracy


@pytest.mark.parametrize("spread", [1.0, 1.6])
def test_it_follows_the_accuracy_where_rows_move_away_from_the_boundary(spread: float) -> None:
    errors, held = [], 0
    for seed in range(8):
        sample, truth = made(spread, seed=seed)
        one = found(sample)
        assert one is not None
        errors.append(one.estimated - truth)
        held += one.low <= truth <= one.high
        assert one.labelled is None
    assert abs(np.mean(errors)) < 0.04
    assert held >= 6


def test_toward_the_boundary_the_threshold_is_wrong_and_not_trusted_and_confidence_is_right() -> None:
    """Nearly all rows come to lie below the threshold, whether the champion is right on them or not."""
    for seed in range(4):
        sample, truth = made(0.3, seed=seed)
        one = found(sample)
        assert one is not None
        assert one.estimated < truth - 0.1
        assert not one.trusted
        assert "threshold and confidence differ by" in one.reason
        assert one.by_confidence == pytest.approx(truth, abs=0.06)


def test_where_nothing_moved_it_is_trusted_and_near_the_reference() -> None:
    one = found(made(seed=3)[0])
    assert one is not None
    assert one.trusted
    assert one.estimated == pytest.approx(one.reference, abs=0.06)
    assert one.by_confidence == pytest.approx(one.estimated, abs=0.05)


def test_inputs_unlike_any_known_one_are_not_trusted() -> None:
    sample, _ = made(seed=3)
    sample.features[:, 1] += 8
    sample.features[:120, 1] *= -1
    one = found(sample)
    assert one is not None
    assert not one.trusted
    assert "of the incoming rows are unlike any known one; label some of them" in one.reason


def test_labels_that_say_otherwise_are_believed() -> None:
    sample, _ = made(seed=3)
    assert sample.champion is not None
    wrong = sample.champion.outputs.argmax(axis=1) == 0
    labels = ["ab"[int(one)] if here else label for one, here, label in zip(
        wrong, np.arange(800) < 80, sample.labels, strict=True)]  # fmt: skip
    one = found(dataclasses.replace(sample, labels=labels))
    assert one is not None
    assert (one.trusted, one.labelled) == (False, 0.0)
    assert one.reason.startswith("labelled rows say otherwise: the champion is right on")


def test_few_held_out_rows_are_not_trusted_and_none_give_no_estimate() -> None:
    one = found(made(seed=3, held=40)[0])
    assert one is not None
    assert not one.trusted
    assert found(dataclasses.replace(made(seed=3)[0], champion=None)) is None
    assert found(made(seed=3, held=0)[0]) is None
