"""The sentence of a study follows from its numbers, whichever way they fall."""

from __future__ import annotations

import pytest

from finetide.contracts.metrics import Measure
from finetide.contracts.study import Method, Shallower, StudyResult, StudyRun
from finetide.studies import compare, curve, depth, seeds
from finetide.studies.bench import Terms

OF_LABELS = Terms.of(("accuracy", "macro_f1"), "labels")
OF_QUESTIONS = Terms.of(("f1", "exact_match"), "questions")


def result(
    method: Method, rows: int, accuracy: float, *, share: float | None = None, less: float | None = None,
    ends: float = 0.01, collapsed: str | None = None,
) -> StudyResult:  # fmt: skip
    measure = Measure(value=accuracy, low=accuracy - ends, high=accuracy + ends, rows=100)
    against = {} if less is None else {"reference": Measure(value=less, low=less - ends, high=less + ends, rows=100)}
    return StudyResult(
        method=method, policy=None, share=share, rows=rows,
        roles={"reference": {"accuracy": measure, "f1": measure}}, against=against, shallower=None,
        runs=(run(17, accuracy, collapsed),),
    )  # fmt: skip


def run(seed: int, accuracy: float, collapsed: str | None = None) -> StudyRun:
    return StudyRun(
        seed=seed, measures={"accuracy": accuracy, "f1": accuracy}, validation=accuracy, steps=1, seconds=1.0,
        joules=None, gap=None, trainable=None, collapsed=collapsed,
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
    assert curve.sentence(study(0.7, 0.85, 0.9), OF_LABELS) == (
        "Fine-tuning reaches the from-scratch accuracy of all 1,000 labels (80.0 %) with 100 labels "
        "(85.0 %; difference +5.0 points, interval +4.0 to +6.0)."
    )


def test_not_reached() -> None:
    assert curve.sentence(study(0.5, 0.6, 0.75), OF_LABELS) == (
        "Fine-tuning does not reach the from-scratch accuracy of all 1,000 labels (80.0 %): all of them give 75.0 % "
        "(difference -5.0 points, interval -6.0 to -4.0)."
    )


def test_reached_with_all_only() -> None:
    assert " with all of them (80.0 %; difference +0.0 points" in curve.sentence(study(0.5, 0.6, 0.8), OF_LABELS)


def test_reached_with_the_fewest() -> None:
    said = curve.sentence(study(0.81, 0.85, 0.9), OF_LABELS)
    assert said.endswith(
        "with 10 labels (81.0 %; difference +1.0 points, interval +0.0 to +2.0), the fewest that were tried."
    )


def test_what_is_lost_again_was_not_reached() -> None:
    assert "with all of them" in curve.sentence(study(0.9, 0.7, 0.9), OF_LABELS)
    assert "does not reach" in curve.sentence(study(0.9, 0.9, 0.7), OF_LABELS)


def test_a_collapsed_yardstick_is_said() -> None:
    said = curve.sentence(study(0.7, 0.85, 0.9, goal=0.5, collapsed="50.0 % is not told from 50.0 %"), OF_LABELS)
    assert said.endswith("From scratch, seed 17 collapsed, so this says little: 50.0 % is not told from 50.0 %.")


def test_without_from_scratch() -> None:
    assert curve.sentence(study(0.5, 0.6, 0.8)[:3], OF_LABELS) == (
        "With all 1,000 labels fine-tuning reaches an accuracy of 80.0 %."
    )


def test_compare_sorts_by_the_interval() -> None:
    found = [
        result("tuned", 10, 0.8),
        result("champion", 10, 0.85, less=0.05),
        result("scratch", 10, 0.6, less=-0.2),
        result("probe", 10, 0.805, less=0.005),
    ]
    assert compare.sentence(found, OF_LABELS) == (
        "On reference test rows fine-tuning from the base has an accuracy of 80.0 %. Against it, "
        "better: warm start (+5.0 points, interval +4.0 to +6.0); "
        "worse: from scratch (-20.0 points, interval -21.0 to -19.0); "
        "not told apart: probe (+0.5 points, interval -0.5 to +1.5)."
    )


def test_seeds() -> None:
    good = (run(17, 0.9), run(18, 0.92), run(19, 0.88))
    assert seeds.sentence(good, OF_LABELS) == (
        "Over 3 seeds the accuracy is 90.0 % on average, from 88.0 % to 92.0 %, the standard deviation 2.00 points; "
        "none collapsed."
    )


def test_a_collapsed_seed_is_named() -> None:
    said = seeds.sentence((run(17, 0.9), run(18, 0.5, "50.0 % is low"), run(19, 0.88)), OF_LABELS)
    assert said.endswith("seed 18 collapsed: 50.0 % is low; without it the average is 89.0 %.")


def test_all_collapsed() -> None:
    said = seeds.sentence((run(17, 0.5, "x"), run(18, 0.5, "y")), OF_LABELS)
    assert said.endswith("seed 17 collapsed: x; seed 18 collapsed: y.")


@pytest.mark.parametrize("less", [0.01, -0.01])
def test_an_interval_that_touches_nothing_tells_nothing_apart(less: float) -> None:
    assert "not told apart: probe" in compare.sentence(
        [result("tuned", 10, 0.8), result("probe", 10, 0.8, less=less)], OF_LABELS
    )


def policy(
    name: str, share: float, accuracy: float, *, learns: int, gap: float = 0.1, better: float = 0.05,
    than: str | None = None, by: float = 0.0, ends: float = 0.01,
) -> StudyResult:  # fmt: skip
    """Of 600 labels. Args: better: than the probe. than, by: the one that tunes less, and the difference from it."""
    difference = Measure(value=by, low=by - ends, high=by + ends, rows=100)
    one = result("tuned", round(600 * share), accuracy, share=share, less=better)
    runs = tuple(each.model_copy(update={"gap": gap, "trainable": learns}) for each in one.runs)
    shallower = Shallower(policy=than, difference=difference) if than else None
    return one.model_copy(update={"policy": name, "runs": runs, "shallower": shallower})


def layers(found: list[StudyResult]) -> str:
    """Beside a probe."""
    return depth.sentence([*found, result("probe", 600, 0.5, share=1.0)], OF_LABELS)


def test_layers_overfit_with_few_labels_and_not_with_many() -> None:
    found = [
        policy("head", 0.1, 0.7, learns=10, gap=0.1, better=0.0),
        policy("full", 0.1, 0.6, learns=900, gap=0.35, better=-0.1, than="head", by=-0.1),
        result("probe", 60, 0.7, share=0.1),
        policy("head", 1.0, 0.8, learns=10, gap=0.05, better=0.0),
        policy("full", 1.0, 0.9, learns=900, gap=0.1, better=0.1, than="head", by=0.1),
        result("probe", 600, 0.8, share=1.0),
    ]
    assert layers(found) == (
        "With 60 labels head is best with 70.0 % (+0.0 points, interval -1.0 to +1.0 against the probe: not told "
        "apart); with all 600 labels full is best with 90.0 % (+10.0 points, interval +9.0 to +11.0 against the "
        "probe). Tuning more layers overfits with 60 labels: full (-10.0 points, interval -11.0 to -9.0 against head; "
        "gap 35.0 points, that of head 10.0)."
    )


def test_layers_a_lower_accuracy_that_the_rows_do_not_tell_apart_is_no_overfitting() -> None:
    found = [
        policy("head", 1.0, 0.7, learns=10),
        policy("last:1", 1.0, 0.695, learns=90, gap=0.2, than="head", by=-0.005),
        policy("full", 1.0, 0.6, learns=900, gap=0.35, than="head", by=-0.1),
    ]
    said = layers(found)
    assert "overfits with all 600 labels: full (-10.0 points" in said
    assert said.endswith(
        "A larger gap and a lower accuracy, but not told apart on these rows: with all 600 labels: last:1 (-0.5 "
        "points, interval -1.5 to +0.5 against head; gap 20.0 points, that of head 10.0)."
    )
    assert "overfits" not in layers(found[:2])


@pytest.mark.parametrize(("gap", "by"), [(0.05, -0.1), (0.1, -0.1), (0.3, 0.1), (0.3, 0.0)])
def test_layers_overfit_only_with_a_larger_gap_and_a_lower_accuracy(gap: float, by: float) -> None:
    found = [
        policy("head", 1.0, 0.7, learns=10, gap=0.1),
        policy("full", 1.0, 0.7 + by, learns=900, gap=gap, than="head", by=by),
    ]
    assert layers(found).endswith(
        ". No policy has a larger gap and a lower accuracy than the best of those that tune less."
    )


def test_layers_of_equals_the_one_that_tunes_least_is_named_first() -> None:
    found = [
        policy("full", 1.0, 0.7, learns=900, than="head"),
        policy("last:1", 1.0, 0.7, learns=90, than="head"),
        policy("head", 1.0, 0.7, learns=10),
    ]
    assert layers(found).startswith(
        "With all 600 labels head is best with 70.0 %, which last:1 and full reach too (+5.0 points, "
    )


def test_layers_one_policy_is_not_the_best_of_any() -> None:
    assert layers([policy("full", 0.5, 0.7, learns=900)]) == (
        "With 300 labels full has 70.0 % (+5.0 points, interval +4.0 to +6.0 against the probe)."
    )


def test_layers_policies_that_tune_as_much_say_nothing_of_depth() -> None:
    found = [policy("full", 1.0, 0.8, learns=900), policy("gradual:0.5", 1.0, 0.7, learns=900, gap=0.9)]
    assert layers(found) == (
        "With all 600 labels full is best with 80.0 % (+5.0 points, interval +4.0 to +6.0 against the probe)."
    )


def test_questions_are_told_by_f1() -> None:
    assert curve.sentence(study(0.7, 0.85, 0.9), OF_QUESTIONS) == (
        "Fine-tuning reaches the from-scratch F1 of all 1,000 questions (80.0 %) with 100 questions "
        "(85.0 %; difference +5.0 points, interval +4.0 to +6.0)."
    )
    found = [result("tuned", 10, 0.8), result("champion", 10, 0.85, less=0.05)]
    assert compare.sentence(found, OF_QUESTIONS) == (
        "On reference test rows fine-tuning from the base has an F1 of 80.0 %. Against it, "
        "better: warm start (+5.0 points, interval +4.0 to +6.0)."
    )
    assert seeds.sentence((run(17, 0.9), run(18, 0.9)), OF_QUESTIONS).startswith("Over 2 seeds the F1 is 90.0 %")


def test_layers_without_a_probe_are_held_against_the_head() -> None:
    head = policy("head", 1.0, 0.7, learns=10).model_copy(update={"against": {}})
    full = policy("full", 1.0, 0.6, learns=900, gap=0.35, better=-0.1, than="head", by=-0.1)
    assert depth.sentence([head, full], OF_QUESTIONS) == (
        "With all 600 questions head is best with 70.0 %. Tuning more layers overfits with all 600 questions: full "
        "(-10.0 points, interval -11.0 to -9.0 against head; gap 35.0 points, that of head 10.0)."
    )
    better = policy("full", 1.0, 0.8, learns=900, better=0.1)
    assert depth.sentence([head, better], OF_QUESTIONS) == (
        "With all 600 questions full is best with 80.0 % (+10.0 points, interval +9.0 to +11.0 against the head)."
    )
