"""Every word of the verdict, on synthetic embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from finetide.shift.detect import Limits, Sample, Sizes, detect, recipe, without_test
from finetide.shift.plot import picture

LIMITS = Limits(alpha=0.05, permutations=99, min_rows=20, harmless_auc=0.7, halt_auc=0.9, min_labelled_share=0.5)


def sample(
    move: float, rows: int = 120, seed: int = 0, *, labels: tuple[str | None, str | None] = ("a", "a")
) -> Sample:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2 * rows, 8))
    x[:rows, 0] += move
    incoming = np.array([True] * rows + [False] * rows)
    given: list[str | None] = [labels[0]] * rows + [labels[1]] * rows
    return Sample(incoming, x, given, None, None)


def sizes(rows: int = 120, share: float = 1.0, new: tuple[str, ...] = ()) -> Sizes:
    return Sizes(rows, rows, share, new)


def test_nothing_has_arrived() -> None:
    verdict = without_test(Sizes(100, 0, 0.0, ()), LIMITS)
    assert verdict is not None
    assert (verdict.verdict, verdict.p) == ("none", None)
    assert recipe(verdict, 0.3).replay == 1.0


def test_too_few_rows_cannot_tell_and_says_how_many_would_do() -> None:
    verdict = without_test(Sizes(100, 5, 0.0, ()), LIMITS)
    assert verdict is not None
    assert verdict.verdict == "cannot-tell"
    assert "5 incoming rows: 20 would do" in verdict.sentence
    few = without_test(Sizes(3, 50, 0.0, ()), LIMITS)
    assert few is not None
    assert "3 reference rows" in few.sentence
    assert without_test(sizes(), LIMITS) is None


def test_no_shift() -> None:
    verdict = detect(sample(0.0, seed=3), sizes(), LIMITS, seed=1)
    assert verdict.verdict == "none"
    assert verdict.causes == ()
    assert "would have shown" in verdict.sentence


def test_a_small_shift_is_harmless() -> None:
    verdict = detect(sample(0.5, rows=400), sizes(400), LIMITS, seed=1)
    assert (verdict.verdict, verdict.p) == ("harmless", 1 / 100)


def test_a_large_shift_adapts() -> None:
    verdict = detect(sample(3.0), sizes(), LIMITS, seed=1)
    assert verdict.verdict == "adapt"
    assert "covariate" in verdict.causes
    assert recipe(verdict, 0.3).replay == 0.3


def test_a_large_shift_without_labels_halts_and_says_how_many() -> None:
    verdict = detect(sample(3.0), sizes(share=0.1), LIMITS, seed=1)
    assert verdict.verdict == "halt"
    assert "label at least 60 of 120 rows" in verdict.sentence


def test_a_label_shift_alone_adapts_and_is_named() -> None:
    verdict = detect(sample(0.0, seed=3, labels=("a", "b")), sizes(), LIMITS, seed=1)
    assert verdict.verdict == "adapt"
    assert verdict.causes == ("label",)


def test_new_labels_adapt_whatever_the_test_says() -> None:
    verdict = detect(sample(0.0, seed=3), sizes(new=("c",)), LIMITS, seed=1)
    assert verdict.verdict == "adapt"
    assert "new-labels" in verdict.causes
    assert "new labels (c)" in verdict.sentence


def test_unlabelled_rows_leave_the_label_test_out() -> None:
    verdict = detect(sample(0.0, labels=(None, "a")), sizes(share=0.0), LIMITS, seed=1)
    assert "label frequencies" not in {statistic.name for statistic in verdict.statistics}


def test_false_alarms_stay_at_the_promised_rate() -> None:
    limits = Limits(0.1, 49, 10, 0.5, 1.1, 0.0)
    trials = 200
    alarms = sum(
        detect(sample(0.0, rows=25, seed=seed), sizes(25), limits, seed=seed).verdict != "none"
        for seed in range(trials)
    )
    # p < 0.1 of 50 draws is at most 4 of 50: the rate is 0.08.
    assert alarms / trials < 0.08 + 3 * np.sqrt(0.08 * 0.92 / trials)
    assert alarms > 0


def test_the_same_rows_give_the_same_verdict() -> None:
    assert detect(sample(1.0), sizes(), LIMITS, seed=1) == detect(sample(1.0), sizes(), LIMITS, seed=1)


@pytest.mark.parametrize("with_features", [True, False])
def test_the_picture_is_byte_equal_and_a_png(with_features: bool) -> None:
    made = sample(2.0)
    arguments: tuple[Any, ...] = (
        "adapt: a title", made.incoming, made.features if with_features else None, np.arange(240.0), list(made.labels)
    )  # fmt: skip
    first = picture(*arguments)
    assert first[:8] == b"\x89PNG\r\n\x1a\n"
    assert first == picture(*arguments)
