from __future__ import annotations

import csv
import random
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetide.data import near
from finetide.data.near import near_pairs
from finetide.data.text import normalise
from support.shared import shared_data


def grams(text: str) -> set[str]:
    text = text.ljust(5, "\0")
    return {text[start : start + 5] for start in range(len(text) - 4)}


def all_pairs(texts: list[str], threshold: float) -> set[tuple[int, int]]:
    """The slow and certain way."""
    sets = [grams(text) for text in texts]
    return {
        (older, newer)
        for newer in range(len(sets))
        for older in range(newer)
        if len(sets[older] & sets[newer]) >= threshold * len(sets[older] | sets[newer])
    }


def found(texts: list[str], threshold: float) -> set[tuple[int, int]]:
    pairs = near_pairs(texts, threshold)
    return set(zip(pairs.older.tolist(), pairs.newer.tolist(), strict=True))


def test_a_changed_word_is_near_and_another_sentence_is_not() -> None:
    texts = [
        "my parcel has not arrived yet, can you tell me where it is",
        "i forgot the password of my account",
        "my parcel has not arrived yet, can you tell us where it is",
    ]
    pairs = near_pairs(texts, 0.7)
    assert (pairs.older.tolist(), pairs.newer.tolist()) == ([0], [2])
    expected = len(grams(texts[0]) & grams(texts[2])) / len(grams(texts[0]) | grams(texts[2]))
    assert pairs.similarity.tolist() == [expected]


@pytest.mark.parametrize("texts", [[], ["alone"], ["", "x"], ["ab", "abc"], ["", "\U0001f600"]])
def test_few_and_short_texts_have_no_pairs(texts: list[str]) -> None:
    assert len(near_pairs(texts, 0.8)) == 0


@given(st.lists(st.text("ab ", max_size=25), min_size=2, max_size=25, unique=True))
@settings(max_examples=40, deadline=None)
def test_pairs_are_those_of_comparing_all_with_all(texts: list[str]) -> None:
    assert found(texts, 0.8) == all_pairs(texts, 0.8)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8, 0.95, 1.0])
def test_thresholds_from_low_to_high_agree_with_comparing_all(threshold: float) -> None:
    chance = random.Random(3)
    texts = ["".join(chance.choice("abc") for _ in range(40)) for _ in range(30)]
    for text in texts[:]:
        at = chance.randrange(40)
        texts.append(text[:at] + "x" * chance.randrange(1, 4) + text[at:])
        texts.append(text + text[:15])
    texts = list(dict.fromkeys(texts))
    assert found(texts, threshold) == all_pairs(texts, threshold)
    assert threshold == 1.0 or found(texts, threshold)


def test_a_threshold_of_zero_does_not_fail() -> None:
    assert found(["where is it", "where is that"], 0.0) == {(0, 1)}


def test_pairs_of_old_texts_do_not_change_when_texts_are_added() -> None:
    chance = random.Random(4)
    texts = list(dict.fromkeys(f"order {chance.randrange(400)} is late, please help me today" for _ in range(300)))
    whole = found(texts, 0.8)
    for count in (20, 60, 150):
        assert found(texts[:count], 0.8) == {pair for pair in whole if pair[1] < count}


def test_thousands_of_texts_from_one_template_are_tied_together_in_seconds() -> None:
    texts = [
        f"dear customer, your order number {at:06d} has been sent today and will soon be there" for at in range(5000)
    ]
    start = time.perf_counter()
    pairs = near_pairs(texts, 0.7)
    assert time.perf_counter() - start < 20
    assert len(pairs) < 5000 * 2 * near.CROWD * 10
    groups = np.arange(len(texts))
    for older, newer in zip(pairs.older, pairs.newer, strict=True):
        groups[newer] = min(groups[newer], groups[older])
    assert set(groups.tolist()) == {0}


def test_chunks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"text {at} and some more words {at % 7}" for at in range(60)]
    whole = found(texts, 0.6)
    monkeypatch.setattr(near, "CHUNK_CHARACTERS", 50)
    monkeypatch.setattr(near, "CHUNK_PAIRS", 3)
    assert found(texts, 0.6) == whole != set()


def test_real_reviews_and_requests_have_the_pairs_of_comparing_all() -> None:
    path = shared_data("text_cls", "banking77", "banking77.csv")
    with path.open(newline="", encoding="utf-8") as stream:
        texts = list(dict.fromkeys(normalise(row["text"]) for row in csv.DictReader(stream)))[:600]
    assert found(texts, 0.7) == all_pairs(texts, 0.7) != set()
