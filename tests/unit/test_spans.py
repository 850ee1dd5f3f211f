"""Windows of contexts, and the answers that are chosen from their logits."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from finetide.spans import (
    NOWHERE,
    Asked,
    Chosen,
    Found,
    Reading,
    Span,
    Window,
    by_question,
    choose,
    find,
    find_all,
    flat,
)
from finetide.spans import windows as cut
from finetide.text import load_tokenizer

READING = Reading(max_length=12, stride=3, max_question=4, max_answer=3)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """One token a word, w0 to w99."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{number}" for number in range(100))]
    made = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    made.save(str(path))
    return load_tokenizer(str(path))


def words(start: int, end: int) -> str:
    return " ".join(f"w{number}" for number in range(start, end))


def text_of(window: Window) -> str:
    start, end = window.offsets[0, 0], window.offsets[-1, 1]
    return window.asked.context[start:end]


def test_windows_cover_the_context_and_share_the_stride(tokenizer: Tokenizer) -> None:
    found = cut(tokenizer, [Asked("w90 w91", words(0, 20)), Asked("w92", "w1 w2")], READING)
    parts = [text_of(window).split() for window in found if window.row == 0]
    assert [len(part) for part in parts] == [7, 7, 7, 7, 4] or all(len(part) <= 7 for part in parts)
    assert parts[0][0] == "w0"
    assert parts[-1][-1] == "w19"
    for one, other in itertools.pairwise(parts):
        assert one[-3:] == other[:3]
    assert all(len(window.ids) <= 12 for window in found)
    assert [window.types[window.first] for window in found] == [1] * len(found)
    assert list(by_question(found)) == [list(range(len(parts))), [len(parts)]]


def test_a_long_question_ends_at_its_limit(tokenizer: Tokenizer) -> None:
    (window,) = cut(tokenizer, [Asked(words(50, 60), "w1 w2")], READING)
    kept = [tokenizer.id_to_token(number) for number in window.ids[: window.first]]
    assert kept == ["[CLS]", "w50", "w51", "w52", "w53", "[SEP]"]


def test_targets_are_tokens_of_the_answer_in_the_windows_that_hold_it(tokenizer: Tokenizer) -> None:
    context = words(0, 20)
    start = context.index("w9")
    end = start + len("w9 w10")
    found = cut(tokenizer, [Asked("w90 w91", context, ("w9 w10",))], READING)
    held = 0
    for window in found:
        first, last = window.target(start, end)
        inside = "w9 w10" in text_of(window)
        assert (first, last) != (0, 0) if inside else (first, last) == (0, 0)
        if inside:
            held += 1
            assert [tokenizer.id_to_token(number) for number in window.ids[first : last + 1]] == ["w9", "w10"]
    assert held


def test_an_answer_of_no_more_than_the_stride_is_whole_in_some_window(tokenizer: Tokenizer) -> None:
    context = words(0, 40)
    tokens = context.split()
    found = cut(tokenizer, [Asked("w90 w91", context)], READING)
    for place in range(len(tokens) - 2):
        answer = " ".join(tokens[place : place + 3])
        start = context.index(answer)
        assert any(window.target(start, start + len(answer)) != (0, 0) for window in found)


def test_the_best_span_is_that_of_all_pairs(tokenizer: Tokenizer) -> None:
    """Against the plain definition: every window, every start, every end."""
    chance = np.random.default_rng(3)
    context = words(0, 20)
    found = cut(tokenizer, [Asked("w90 w91", context)], READING)
    logits = chance.normal(size=(len(found), 12, 2)).astype(np.float32)
    outputs = flat(logits, found, READING.max_length)
    wanted: dict[tuple[int, int], float] = {}
    for place, window in enumerate(found):
        for start in range(len(window.offsets)):
            for end in range(start, min(start + 3, len(window.offsets))):
                score = float(logits[place, window.first + start, 0]) + float(logits[place, window.first + end, 1])
                span = int(window.offsets[start, 0]), int(window.offsets[end, 1])
                wanted[span] = max(wanted.get(span, -np.inf), score)
    got = find(found, outputs)
    ranked = sorted(((-score, *span) for span, score in wanted.items()))[:20]
    assert [(span.start, span.end) for span in got.spans] == [(start, end) for _, start, end in ranked]
    np.testing.assert_allclose([span.score for span in got.spans], [-one[0] for one in ranked], rtol=1e-6)
    assert got.null == pytest.approx(min(float(logits[place, 0].sum()) for place in range(len(found))))
    assert find_all(found, outputs) == [got]


def test_nothing_may_start_in_question_separator_or_padding(tokenizer: Tokenizer) -> None:
    found = cut(tokenizer, [Asked("w90 w91", "w1 w2"), Asked("w9", words(0, 20))], READING)
    outputs = flat(np.ones((len(found), 12, 2), np.float32), found, 12).reshape(len(found), 2, 12)
    for row, window in zip(outputs, found, strict=True):
        allowed = window.places()
        assert (row[:, : len(allowed)][:, allowed] == 1).all()
        assert (row[:, np.flatnonzero(~np.pad(allowed, (0, 12 - len(allowed))))] == NOWHERE).all()


def test_no_answer_is_chosen_above_the_threshold_only() -> None:
    found = Found([Span(2.0, 0, 4), Span(1.0, 5, 7)], null=2.5)
    assert choose(found, "word of", None, 1.0).text == "word"
    assert choose(found, "word of", 0.6, 1.0).text == "word"
    none = choose(found, "word of", 0.4, 1.0)
    assert none[:3] == ("", None, None)
    # Shares of all that was compared, no answer shifted by the threshold.
    every = np.exp([2.0, 1.0, 2.1])
    assert none.score == pytest.approx(every[2] / every.sum())


def test_the_temperature_flattens_the_score_and_changes_no_answer() -> None:
    found = Found([Span(4.0, 0, 1), Span(0.0, 2, 3)], null=-9.0)
    scores = [choose(found, "a b", None, temperature) for temperature in (0.5, 1.0, 4.0)]
    assert {one.text for one in scores} == {"a"}
    assert scores[0].score > scores[1].score > scores[2].score > 0.5


def test_blanks_around_a_span_are_no_part_of_the_answer() -> None:
    found = Found([Span(1.0, 0, 6)], null=0.0)
    assert choose(found, " word ", None, 1.0)[:3] == ("word", 1, 5)


def test_a_window_without_context_has_no_answer() -> None:
    window = Window([2, 5, 3], [0, 0, 0], 3, np.zeros((0, 2), np.int64), 0, Asked("w1", ""), READING)
    found = find([window], np.zeros((1, 24), np.float32))
    assert found.spans == []
    assert choose(found, "", None, 1.0) == Chosen("", None, None, 0.0)


def test_a_tokenizer_without_pairs_is_refused(tmp_path: Path) -> None:
    made = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    with pytest.raises(ValueError, match="puts no special token before a pair"):
        cut(made, [Asked("a", "a")], READING)


@pytest.mark.parametrize(
    ("change", "said"),
    [({"stride": "3"}, "stride is no whole number"), ({"null_threshold": "x"}, "null_threshold is no number"),
     ({"max_length": -1}, "max_length is no whole number")],
)  # fmt: skip
def test_a_damaged_reading_is_refused(change: dict[str, object], said: str) -> None:
    import json

    whole = json.loads(READING.to_json())
    assert Reading.from_json(whole) == READING
    with pytest.raises(ValueError, match=said):
        Reading.from_json({**whole, **change})
    with pytest.raises(TypeError):
        Reading.from_json({**whole, "more": 1})
    with pytest.raises(ValueError, match="is no JSON object"):
        Reading.from_json([])
