"""The sentence of a study follows from its numbers, whichever way they fall."""

from __future__ import annotations

import pytest

from finetide.contracts.metrics import Measure
from finetide.contracts.study import Method, StudyResult, StudyRun
from finetide.studies import compare, curve, seeds


def result(
    method: Method, rows: int, accuracy: float, *, share: float | None = None, less: float | None = None,
    ends: float = 0.01, collapsed: str | None = None,
) -> StudyResult:  # fmt: skip
    measure = Measure(value=accuracy, low=accuracy - ends, high=accuracy + ends, rows=100)
    against = {} if less is None else {"reference": Measure(value=less, low=less - ends, high=less + ends, rows=100)}
    return StudyResult(
        method=method, share=share, rows=rows, roles={"reference": {"accuracy": measure, "macro_f1": measure}},
        against=against, runs=(run(17, accuracy, collapsed),),
    )  # fmt: skip


def run(seed: int, accuracy: float, collapsed: str | None = None) -> StudyRun:
    return StudyRun(
        seed=seed, accuracy=accuracy, macro_f1=accuracy, validation=accuracy, steps=1, seconds=1.0, joules=None,
        collapsed=collapsed,
    )  # fmt: skip


def study(*tuned: float, goal: float = 0.8, collapsed: str | None = None) -> list[StudyResult]:
    """Fine-tuned at 10, 100 and 1,000 labels; from scratch at 1,000."""
    shares = (0.01, 0.1, 1.0)
    found = [
        result("tuned", round(1000 * share), value, share=share, less=value - goal)
        for share, value in zip(shares, tuned, strict=True)
    ]
    return [*found, result("scratch", 1000, goal, share=1.0, collapsed=collapsed)]


def test_reached_with_a_tenth() -> None:
    assert curve.sentence(study(0.7, 0.85, 0.9)) == (
        "Fine-tuning reaches the from-scratch accuracy of all 1,000 labels (80.0 %) with 100 labels "
        "(85.0 %; difference +5.0 points, interval +4.0 to +6.0)."
    )


def test_not_reached() -> None:
    assert curve.sentence(study(0.5, 0.6, 0.75)) == (
        "Fine-tuning does not reach the from-scratch accuracy of all 1,000 labels (80.0 %): all of them give 75.0 % "
        "(difference -5.0 points, interval -6.0 to -4.0)."
    )


def test_reached_with_all_only() -> None:
    assert " with all of them (80.0 %; difference +0.0 points" in curve.sentence(study(0.5, 0.6, 0.8))


def test_reached_with_the_fewest() -> None:
    said = curve.sentence(study(0.81, 0.85, 0.9))
    assert said.endswith(
        "with 10 labels (81.0 %; difference +1.0 points, interval +0.0 to +2.0), the fewest that were tried."
    )


def test_what_is_lost_again_was_not_reached() -> None:
    assert "with all of them" in curve.sentence(study(0.9, 0.7, 0.9))
    assert "does not reach" in curve.sentence(study(0.9, 0.9, 0.7))


def test_a_collapsed_yardstick_is_said() -> None:
    said = curve.sentence(study(0.7, 0.85, 0.9, goal=0.5, collapsed="50.0 % is not told from 50.0 %"))
    assert said.endswith("From scratch, seed 17 collapsed, so this says little: 50.0 % is not told from 50.0 %.")


def test_without_from_scratch() -> None:
    assert curve.sentence(study(0.5, 0.6, 0.8)[:3]) == "With all 1,000 labels fine-tuning reaches 80.0 %."


def test_compare_sorts_by_the_interval() -> None:
    found = [
        result("tuned", 10, 0.8),
        result("champion", 10, 0.85, less=0.05),
        result("scratch", 10, 0.6, less=-0.2),
        result("probe", 10, 0.805, less=0.005),
    ]
    assert compare.sentence(found) == (
        "On reference test rows fine-tuning from the base has 80.0 %. Against it, "
        "better: warm start (+5.0 points, interval +4.0 to +6.0); "
        "worse: from scratch (-20.0 points, interval -21.0 to -19.0); "
        "not told apart: probe (+0.5 points, interval -0.5 to +1.5)."
    )


def test_seeds() -> None:
    good = (run(17, 0.9), run(18, 0.92), run(19, 0.88))
    assert seeds.sentence(good) == (
        "Over 3 seeds the accuracy is 90.0 % on average, from 88.0 % to 92.0 %, the standard deviation 2.00 points; "
        "none collapsed."
    )


def test_a_collapsed_seed_is_named() -> None:
    said = seeds.sentence((run(17, 0.9), run(18, 0.5, "50.0 % is low"), run(19, 0.88)))
    assert said.endswith("seed 18 collapsed: 50.0 % is low; without it the average is 89.0 %.")


def test_all_collapsed() -> None:
    said = seeds.sentence((run(17, 0.5, "x"), run(18, 0.5, "y")))
    assert said.endswith("seed 17 collapsed: x; seed 18 collapsed: y.")


@pytest.mark.parametrize("less", [0.01, -0.01])
def test_an_interval_that_touches_nothing_tells_nothing_apart(less: float) -> None:
    assert "not told apart: probe" in compare.sentence([result("tuned", 10, 0.8), result("probe", 10, 0.8, less=less)])
