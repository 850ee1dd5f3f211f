"""Exact match, F1, the null threshold and the temperature of answers."""

from __future__ import annotations

import numpy as np
import pytest

from finetide.metrics import answers
from finetide.metrics.means import bootstrap_mean, sign_flip
from finetide.spans import Asked, Found, Span


# Values that SQuAD's evaluate-v2.0.py gives.
@pytest.mark.parametrize(
    ("answer", "golds", "exact", "overlap"),
    [
        ("The Denver Broncos!", ["Denver Broncos"], 1.0, 1.0),
        ("the blue whale", ["blue whales", "a Blue Whale"], 1.0, 1.0),
        ("Denver", ["Denver Broncos"], 0.0, 2 / 3),
        ("in the year 1990", ["1990"], 0.0, 0.5),
        ("to to be", ["to be"], 0.0, 0.8),
        ("", [], 1.0, 1.0),
        ("anything", [], 0.0, 0.0),
        ("", ["something"], 0.0, 0.0),
        ("the", ["a"], 1.0, 1.0),
        ("co-operative", ["cooperative"], 1.0, 1.0),
        ("x", ["y", "the"], 0.0, 0.0),
    ],
)
def test_exact_match_and_f1_are_the_official_ones(answer: str, golds: list[str], exact: float, overlap: float) -> None:
    assert answers.exact_match(answer, golds) == exact
    assert answers.f1(answer, golds) == pytest.approx(overlap)


def test_the_threshold_is_the_best_of_all() -> None:
    chance = np.random.default_rng(5)
    for _ in range(20):
        differences = chance.integers(-3, 4, 12).astype(float)
        yes = chance.random(12).round(1)
        no = (chance.random(12) < 0.5).astype(float)
        found = answers.best_threshold(differences, yes, no)

        everywhere = [np.where(differences > threshold, no, yes).sum() for threshold in np.arange(-5, 5, 0.25)]
        assert np.where(differences > found, no, yes).sum() == pytest.approx(max(everywhere))


def test_a_threshold_is_tuned_only_where_questions_lack_an_answer() -> None:
    found = [Found([Span(1.0, 0, 1)], 0.0), Found([Span(0.0, 0, 1)], 3.0)]
    answered = [Asked("q", "a b", ("a",)), Asked("q", "a b", ("b",))]
    assert answers.threshold_of(found, answered) is None
    # The second has no answer, and its difference is 3; the first one's is -1.
    threshold = answers.threshold_of(found, [answered[0], Asked("q", "a b", ())])
    assert threshold is not None
    assert -1 <= threshold < 3


def test_the_temperature_is_high_for_a_boaster_and_low_for_a_doubter() -> None:
    chance = np.random.default_rng(2)
    truth = chance.normal(size=(400, 5)) * 2
    shares = np.exp(truth) / np.exp(truth).sum(axis=1, keepdims=True)
    label = np.array([chance.choice(5, p=row) for row in shares])
    chosen = truth.argmax(axis=1)
    right = (chosen == label).astype(float)
    fitted = [answers.fit_temperature(list(truth * scale), chosen.tolist(), right) for scale in (1.0, 4.0, 0.25)]
    assert fitted[0] == pytest.approx(1.0, rel=0.25)
    assert fitted[1] == pytest.approx(4.0, rel=0.25)
    assert fitted[2] == pytest.approx(0.25, rel=0.25)
    assert answers.fit_temperature(list(truth), chosen.tolist(), np.ones(400)) == 1.0


def test_what_is_compared_ends_with_no_answer_where_it_may_be_said() -> None:
    found = Found([Span(1.0, 0, 1), Span(0.5, 0, 2)], 3.0)
    assert answers.compared(found, None)[0].tolist() == [1.0, 0.5]
    scores, chosen = answers.compared(found, 1.0)
    assert scores.tolist() == [1.0, 0.5, 2.0]
    assert chosen == 2


@pytest.mark.parametrize(
    ("question", "kind"),
    [("Who was it?", "who"), ("In which year?", "which"), ("Name the river.", "other"), ("Whose and what?", "whose")],
)
def test_questions_are_told_apart_by_their_first_question_word(question: str, kind: str) -> None:
    assert answers.question_type(question) == kind


def test_sentences_are_parts_of_the_text() -> None:
    text = ' One (two). "Three!" Four? v1.5 is\nFive'
    assert [text[start:end] for start, end in answers.sentences(text)] == [
        "One (two).", '"Three!"', "Four?", "v1.5 is", "Five",
    ]  # fmt: skip
    assert answers.sentences("  ") == []


def test_the_interval_covers_the_mean() -> None:
    hits = 0
    for seed in range(200):
        chance = np.random.default_rng(seed)
        values = chance.random(40)
        found = bootstrap_mean(values, resamples=300, confidence=0.9, chance=chance)
        hits += found.low <= 0.5 <= found.high
    assert 0.84 <= hits / 200 <= 0.96


def test_flipping_signs_is_uniform_under_the_null_and_small_for_a_loss() -> None:
    p = [
        sign_flip(np.random.default_rng(seed).normal(size=30), draws=199, chance=np.random.default_rng(seed))[0]
        for seed in range(200)
    ]
    assert 0.05 < np.mean(np.array(p) <= 0.1) < 0.16
    lost = np.concatenate([-np.ones(15), np.zeros(30)])
    two, one = sign_flip(lost, draws=999, chance=np.random.default_rng(1))
    assert two < 0.01
    assert one < 0.01
    assert sign_flip(-lost, draws=999, chance=np.random.default_rng(1))[1] > 0.99
    assert sign_flip(np.zeros(9), draws=99, chance=np.random.default_rng(1)) == (1.0, 1.0)
