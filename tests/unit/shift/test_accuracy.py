"""Accuracy without labels: right where what the champion says keeps its meaning, not trusted where it need not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from finetide.contracts.shift import AccuracyEstimate
from finetide.shift.accuracy import agreement, estimate
from finetide.shift.detect import Limits, Sizes, detect
from finetide.shift.sample import Champion, Held, Sample, Taught

LIMITS = Limits(alpha=0.05, permutations=99, min_rows=20, harmless_auc=0.7, halt_auc=0.9, min_labelled_share=0.5)


def made(
    spread: float = 1.0, *, seed: int = 0, held: int = 1200, rows: int = 500, taught: int = 200
) -> tuple[Sample, float]:
    """A calibrated champion of two labels on one feature, and its accuracy on the incoming rows, whose labels are left
    out. ``spread``: of the incoming rows' feature; below 1 they lie nearer to the boundary. ``taught``: reference rows
    that the champion was trained on."""
    rng = np.random.default_rng(seed)
    count = rows + held + taught
    incoming = np.arange(count) < rows
    x = rng.normal(size=(count, 5))
    x[incoming, 0] *= spread
    sure = 1 / (1 + np.exp(-3 * x[:, 0]))
    truth = rng.random(count) < sure
    scored = np.arange(count) < rows + held
    labels = [None if here else "ab"[int(one)] for here, one in zip(incoming, truth, strict=True)]
    right = (sure > 0.5) == truth
    champion = Champion(("a", "b"), np.column_stack([1 - sure, sure]), scored)
    return Sample(incoming, x, labels, champion=champion), float(right[incoming].mean())


def found(sample: Sample) -> AccuracyEstimate:
    one = estimate(sample, [], 0.05, seed=1)
    assert one is not None
    return one


@pytest.mark.parametrize("spread", [1.0, 1.6])
def test_it_follows_the_accuracy_where_rows_move_away_from_the_boundary(spread: float) -> None:
    errors, held = [], 0
    for seed in range(10):
        sample, truth = made(spread, seed=seed)
        one = found(sample)
        errors.append(one.estimated - truth)
        held += one.low <= truth <= one.high
        assert one.labelled is None
        assert one.held_rows == 1200
    assert abs(np.mean(errors)) < 0.03
    assert held >= 8


def test_toward_the_boundary_heads_fall_out_and_it_is_not_trusted() -> None:
    """Nearly all rows come to lie below the threshold, whether the champion is right on them or not."""
    for seed in range(4):
        sample, truth = made(0.3, seed=seed)
        one = found(sample)
        assert one.by_threshold < truth - 0.1
        assert not one.trusted
        assert "points less often there than on the reference; label some rows" in one.reason
        assert one.by_confidence == pytest.approx(truth, abs=0.06)


def test_where_nothing_moved_it_is_trusted_and_near_the_reference() -> None:
    one = found(made(seed=3)[0])
    assert one.trusted, one.reason
    assert one.estimated == pytest.approx(one.reference, abs=0.04)
    assert one.by_agreement is not None
    assert one.estimated == pytest.approx((one.by_threshold + one.by_agreement) / 2)
    assert one.high - one.low < 0.1


def test_heads_on_unknown_ground_say_so() -> None:
    sample, _ = made(seed=3)
    sample.features[:, 1] += 8 * sample.incoming  # a direction in which the reference says nothing
    sample.features[sample.incoming, 0] *= 0.2
    one = found(sample)
    assert not one.trusted
    assert one.reason.startswith("heads made alike agree ")


def test_labels_that_say_otherwise_are_believed() -> None:
    sample, _ = made(seed=3, held=300, rows=300)
    assert sample.champion is not None
    wrong = sample.champion.outputs.argmax(axis=1) == 0
    labels = ["ab"[int(one)] if place < 80 else label
              for place, (one, label) in enumerate(zip(wrong, sample.labels, strict=True))]  # fmt: skip
    one = detect(dataclasses.replace(sample, labels=labels), Sizes(500, 300, 0.0, ()), LIMITS, seed=1).accuracy
    assert one is not None
    assert (one.trusted, one.labelled) == (False, 0.0)
    assert one.reason.startswith("labelled rows say otherwise: the champion is right on")


def test_few_rows_are_not_trusted_and_none_give_no_estimate() -> None:
    wide = found(made(1.6, seed=3, held=90)[0])
    assert wide.reason.endswith("points only, by 90 held-out reference rows and these incoming ones")
    assert "too few rows to say whether heads" in found(made(seed=3, rows=12)[0]).reason
    alone = found(made(seed=3, taught=40)[0])
    assert not alone.trusted
    assert alone.reason == "fewer than 50 labelled training rows of the reference to make heads from"
    assert (alone.by_agreement, alone.estimated) == (None, alone.by_threshold)
    assert estimate(dataclasses.replace(made(seed=3)[0], champion=None), [], 0.05, seed=1) is None
    assert estimate(made(seed=3, held=0)[0], [], 0.05, seed=1) is None


def test_rows_that_the_sample_lacks_count_where_they_are_given() -> None:
    many, _ = made(seed=5)
    few, _ = made(seed=6, held=60, taught=0)
    assert many.champion is not None
    rows = many.champion.scored & ~many.incoming
    truth = np.array([label or "" for label in many.labels])
    right = np.array(["a", "b"])[many.champion.outputs.argmax(axis=1)] == truth
    held = Held(many.features[rows], many.champion.outputs[rows], right[rows])
    taught = ~many.champion.scored
    heads = Taught.of(many.features[taught], [label for label, here in zip(many.labels, taught, strict=True)
                                              if here and label])  # fmt: skip
    one = found(dataclasses.replace(few, held=held, taught=heads))
    assert one.held_rows == 1200
    assert one.reference == pytest.approx(right[rows].mean())
    assert one.trusted


def test_rows_of_a_group_count_as_fewer() -> None:
    sample, _ = made(seed=3)
    groups = [str(place // 6) for place in range(len(sample.incoming))]
    order = np.lexsort((sample.features[:, 0], sample.incoming))  # alike within a group
    named = np.empty(len(order), dtype=object)
    named[order] = groups
    apart, together = found(sample), found(dataclasses.replace(sample, groups=list(named)))
    assert together.estimated == apart.estimated
    assert together.high - together.low > 1.3 * (apart.high - apart.low)


def test_heads_agree_where_they_know_and_the_same_seed_gives_the_same() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(200, 4))
    taught = Taught.of(x, ["ab"[int(one > 0)] for one in x[:, 0]])
    assert taught is not None
    clear, unclear = rng.normal(size=(100, 4)), rng.normal(size=(100, 4))
    clear[:, 0] = 6.0
    unclear[:, 0] = 0.0
    sure, unsure = agreement(taught, [clear, unclear], seed=4)
    assert sure.min() == 1.0
    assert 0.4 < unsure.mean() < 0.95
    again = agreement(taught, [clear, unclear], seed=4)
    assert (again[1] == unsure).all()
    assert Taught.of(x, ["a"] * 200) is None
    assert Taught.of(x[:40], ["a", "b"] * 20) is None
