"""Questions about contexts: pairs → windows of tokens, and logits of windows → answers. NumPy and tokenizers alone, so
that training and serving share it.

A context that is too long is cut into windows that overlap; each has the question before it. The answer is the best
span of all windows of a question (Rajpurkar et al. 2018 for the one that says that there is no answer).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Tokenizer

Array = np.ndarray[Any, np.dtype[Any]]
READING_FILE = "reading.json"
# The logit of a place at which no answer may start or end: padding, the question, separators.
NOWHERE = -1e4
# Spans of a question that are compared, as in transformers' run_qa.
CANDIDATES = 20


@dataclass(frozen=True)
class Reading:
    """How pairs are read, and answers chosen. In tokens: ``max_length`` of a window, ``stride`` that two windows share,
    ``max_question`` kept of a question, ``max_answer`` of the longest answer. ``null_threshold``: by how much the
    score of no answer must exceed that of the best span; None: there always is an answer."""

    max_length: int
    stride: int
    max_question: int
    max_answer: int
    null_threshold: float | None = None

    def to_json(self) -> bytes:
        return (json.dumps(asdict(self), sort_keys=True, indent=2) + "\n").encode()

    @classmethod
    def from_json(cls, found: Any) -> Reading:
        """Raises: ValueError, TypeError: it is not what `to_json` wrote."""
        if not isinstance(found, dict):
            raise ValueError("is no JSON object")
        made = cls(**found)
        for name in ("max_length", "stride", "max_question", "max_answer"):
            if type(getattr(made, name)) is not int or getattr(made, name) < 0:
                raise ValueError(f"{name} is no whole number")
        if made.null_threshold is not None and not isinstance(made.null_threshold, (int, float)):
            raise ValueError("null_threshold is no number")
        return made


class Asked(NamedTuple):
    """``golds``: right answers, () where there is none to be found, None where nobody has said."""

    question: str
    context: str
    golds: tuple[str, ...] | None = None


class Window(NamedTuple):
    """``ids``, ``types`` [tokens]; ``first``: place of the context's first token; ``offsets`` [context tokens, 2]:
    characters of the context; ``row``: number of the question among those that were cut together; ``reading``: how."""

    ids: list[int]
    types: list[int]
    first: int
    offsets: Array
    row: int
    asked: Asked
    reading: Reading

    def places(self) -> Array:
        """Where an answer may start or end: the context, and the first token, which stands for no answer."""
        allowed = np.zeros(len(self.ids), bool)
        allowed[0] = True
        allowed[self.first : self.first + len(self.offsets)] = True
        return allowed

    def target(self, start: int, end: int) -> tuple[int, int]:
        """First and last token of the characters ``start`` to ``end``; (0, 0) where they are not all in the window."""
        if not len(self.offsets) or start < self.offsets[0, 0] or end > self.offsets[-1, 1]:
            return 0, 0
        first = int(np.searchsorted(self.offsets[:, 1], start, side="right"))
        last = int(np.searchsorted(self.offsets[:, 0], end, side="left")) - 1
        if last < first:
            return 0, 0
        return self.first + first, self.first + last


class Span(NamedTuple):
    """Characters ``start`` to ``end`` of the context, and the sum of both logits."""

    score: float
    start: int
    end: int


class Found(NamedTuple):
    """Of one question: ``spans``, the best first, and the score of there being no answer."""

    spans: list[Span]
    null: float


class Chosen(NamedTuple):
    """``text`` is empty, ``start`` and ``end`` None, where there is no answer. ``score``: probability, 0 to 1."""

    text: str
    start: int | None
    end: int | None
    score: float


def windows(tokenizer: Tokenizer, asked: Sequence[Asked], reading: Reading) -> list[Window]:
    """All windows, those of a question in the order of its context.

    Raises: ValueError: the tokenizer puts no special token before a pair.
    """
    questions = _cut_questions(tokenizer, [one.question for one in asked], reading.max_question)
    tokenizer.enable_truncation(reading.max_length, stride=reading.stride, strategy="only_second")
    try:
        pairs = [(question, one.context) for question, one in zip(questions, asked, strict=True)]
        found = tokenizer.encode_batch(pairs)
    finally:
        tokenizer.no_truncation()
    made = []
    for row, (encoding, one) in enumerate(zip(found, asked, strict=True)):
        for part in [encoding, *encoding.overflowing]:
            if not part.special_tokens_mask[0]:
                raise ValueError("puts no special token before a pair of texts, and it stands for no answer")
            of = part.sequence_ids
            first = of.index(1) if 1 in of else len(of)
            count = of.count(1)
            offsets = np.array(part.offsets[first : first + count], np.int64).reshape(-1, 2)
            made.append(Window(part.ids, part.type_ids, first, offsets, row, one, reading))
    return made


def _cut_questions(tokenizer: Tokenizer, questions: Sequence[str], most: int) -> list[str]:
    """What is longer than ``most`` tokens ends where the last token that is kept does."""
    made = []
    for question, encoding in zip(
        questions, tokenizer.encode_batch(list(questions), add_special_tokens=False), strict=True
    ):
        made.append(question if len(encoding.ids) <= most else question[: encoding.offsets[most - 1][1]])
    return made


def by_question(found: Sequence[Window]) -> Iterator[list[int]]:
    """Places of the windows of each question, which follow one another."""
    places: list[int] = []
    for place, window in enumerate(found):
        if places and found[places[0]].row != window.row:
            yield places
            places = []
        places.append(place)
    if places:
        yield places


def flat(logits: Array, found: Sequence[Window], width: int) -> Array:
    """[windows, length, 2] → [windows, 2 · width]: starts, then ends, `NOWHERE` where no answer can be."""
    made = np.full((len(found), 2, width), NOWHERE, np.float32)
    for place, window in enumerate(found):
        allowed = window.places()
        made[place, :, : len(allowed)][:, allowed] = logits[place, : len(allowed)].T[:, allowed]
    return made.reshape(len(found), -1)


def find_all(found: Sequence[Window], outputs: Array) -> list[Found]:
    """Of each question what its windows say. Args: outputs: [windows, 2 · width] as `flat` gives them."""
    return [find([found[place] for place in places], outputs[places]) for places in by_question(found)]


def find(found: Sequence[Window], outputs: Array) -> Found:
    """The best spans of one question, over all of its windows."""
    best: dict[tuple[int, int], float] = {}
    null = math.inf
    for window, row in zip(found, outputs, strict=True):
        starts, ends = row.reshape(2, -1).astype(np.float64)
        null = min(null, float(starts[0] + ends[0]))
        for score, start, end in _spans(window, starts, ends, window.reading.max_answer):
            place = (int(window.offsets[start, 0]), int(window.offsets[end, 1]))
            if score > best.get(place, -math.inf):
                best[place] = score
    ranked = sorted((-score, start, end) for (start, end), score in best.items())[:CANDIDATES]
    return Found([Span(-score, start, end) for score, start, end in ranked], null)


def _spans(window: Window, starts: Array, ends: Array, max_answer: int) -> Iterator[tuple[float, int, int]]:
    """The window's best spans of up to ``max_answer`` tokens: all are looked at, not those of the best ends only."""
    count = len(window.offsets)
    if not count:
        return
    inside = slice(window.first, window.first + count)
    padded = np.concatenate([ends[inside], np.full(max_answer - 1, 4 * NOWHERE)])
    sums = starts[inside][:, None] + np.lib.stride_tricks.sliding_window_view(padded, max_answer)
    flat_sums = sums.ravel()
    most = min(CANDIDATES, flat_sums.size)
    for place in np.argpartition(-flat_sums, most - 1)[:most].tolist():
        start, more = divmod(place, max_answer)
        if start + more < count:
            yield float(flat_sums[place]), start, start + more


def choose(found: Found, context: str, threshold: float | None, temperature: float) -> Chosen:
    """The answer, and how probable it is among all that were compared: softmax of their scores."""
    scores = [span.score for span in found.spans]
    nothing = threshold is not None and (not scores or found.null - threshold > scores[0])
    if not scores:
        return Chosen("", None, None, 1.0 if nothing else 0.0)
    every = np.array([*scores, *([found.null - threshold] if threshold is not None else [])]) / temperature
    shares = np.exp(every - every.max())
    shares /= shares.sum()
    if nothing:
        return Chosen("", None, None, float(shares[-1]))
    start, end = found.spans[0].start, found.spans[0].end
    text = context[start:end]
    start, end = start + len(text) - len(text.lstrip()), end - len(text) + len(text.rstrip())
    return Chosen(context[start:end], start, end, float(shares[0]))
