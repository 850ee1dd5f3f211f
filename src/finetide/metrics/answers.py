"""Exact match and F1 of answers by the rules of SQuAD's own evaluation script (Rajpurkar et al. 2016, 2018)."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

import numpy as np

from finetide.metrics.calibration import HIGHEST_TEMPERATURE, LOWEST_TEMPERATURE
from finetide.metrics.classification import FloatArray
from finetide.spans import Asked, Found

_ARTICLES = re.compile(r"\b(a|an|the)\b", re.UNICODE)
_PUNCTUATION = frozenset(string.punctuation)
TEMPERATURES = 121
Numbers = Sequence[float] | FloatArray


def normalise(answer: str) -> str:
    """Lower case, without punctuation and articles, white space made single."""
    plain = "".join(sign for sign in answer.lower() if sign not in _PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", plain).split())


def exact_match(answer: str, golds: Sequence[str]) -> float:
    """1 where ``answer`` is one of ``golds`` after `normalise`, else 0; without golds, where it is empty."""
    return float(any(normalise(answer) == normalise(gold) for gold in _asked(golds)))


def f1(answer: str, golds: Sequence[str]) -> float:
    """Overlap of words with the nearest gold, 0 to 1. Where either has no words: 1 if both have none, else 0."""
    return max(_f1(normalise(answer).split(), normalise(gold).split()) for gold in _asked(golds))


def _asked(golds: Sequence[str]) -> Sequence[str]:
    """As the official script: golds of nothing but articles and punctuation are left out; none at all is no answer."""
    return [gold for gold in golds if normalise(gold)] or [""]


def _f1(answer: list[str], gold: list[str]) -> float:
    if not answer or not gold:
        return float(answer == gold)
    same = (Counter(answer) & Counter(gold)).total()
    if same == 0:
        return 0.0
    precision, recall = same / len(answer), same / len(gold)
    return 2 * precision * recall / (precision + recall)


def best_threshold(differences: Numbers, answered: Numbers, unanswered: Numbers) -> float:
    """The threshold with the highest summed score: a question is left unanswered where its difference is above it.

    Args:
        differences: score of no answer less that of the best span; answered: F1 of that span; unanswered: of the empty
            answer; [questions] each, one at least.

    Returns: among equals the one nearest to 0: half way between two differences, or 1 beyond the outermost.
    """
    order = np.argsort(np.asarray(differences, np.float64), kind="stable")
    ranked = np.asarray(differences, np.float64)[order]
    yes, no = np.asarray(answered, np.float64)[order], np.asarray(unanswered, np.float64)[order]
    gains = np.concatenate([[0.0], np.cumsum(yes)]) + np.concatenate([np.cumsum(no[::-1])[::-1], [0.0]])
    places = np.concatenate([[ranked[0] - 1], (ranked[:-1] + ranked[1:]) / 2, [ranked[-1] + 1]])
    # Between equal differences there is no threshold.
    real = np.concatenate([[True], ranked[:-1] < ranked[1:], [True]])
    gains, places = gains[real], places[real]
    best = places[gains >= gains.max() - 1e-9]
    return float(best[np.argmin(np.abs(best))])


def fit_temperature(scores: Sequence[FloatArray], chosen: Sequence[int], right: FloatArray) -> float:
    """The T at which the probability of the chosen answer, softmax(scores / T), fits how often it is right: lowest
    mean log loss over a grid from 0.05 to 20. 1 where all or none are right, which tells nothing.

    Args: scores: of all that was compared, a question; chosen: place of the answer among them; right: 0 or 1.
    """
    if not len(right) or right.min() == right.max():
        return 1.0
    longest = max(map(len, scores))
    table = np.full((len(scores), longest), -np.inf)
    for place, row in enumerate(scores):
        table[place, : len(row)] = row
    rows = np.arange(len(scores))
    best, lowest = 1.0, np.inf
    for temperature in np.geomspace(LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE, TEMPERATURES).tolist():
        scaled = table / temperature
        scaled -= scaled.max(axis=1, keepdims=True)
        shares = np.exp(scaled)
        p = np.clip(shares[rows, np.asarray(chosen)] / shares.sum(axis=1), 1e-6, 1 - 1e-6)
        loss = float(-(right * np.log(p) + (1 - right) * np.log(1 - p)).mean())
        if loss < lowest:
            best, lowest = float(temperature), loss
    return best


def question_type(question: str) -> str:
    """Its first question word, such as who or how; other where there is none."""
    words = re.findall(r"[a-z]+", question.lower())
    known = ("what", "which", "who", "whom", "whose", "when", "where", "why", "how")
    return next((word for word in words if word in known), "other")


def sentences(text: str) -> list[tuple[int, int]]:
    """Characters between which each sentence of ``text`` stands, blanks around it left out."""
    ends = [match.end() for match in re.finditer(r"[.!?]+[\"')\]]*(?=\s)|\n+", text)]
    found = []
    for start, end in zip([0, *ends], [*ends, len(text)], strict=True):
        part = text[start:end]
        if part.strip():
            found.append((start + len(part) - len(part.lstrip()), start + len(part.rstrip())))
    return found


def threshold_of(found: Sequence[Found], asked: Sequence[Asked]) -> float | None:
    """The null threshold at which these labelled questions score best; None where all of them have an answer."""
    if all(one.golds for one in asked):
        return None
    known = [(one, question) for one, question in zip(found, asked, strict=True) if one.spans]
    if not known:
        return 0.0
    best = [question.context[one.spans[0].start : one.spans[0].end] for one, question in known]
    return best_threshold(
        [one.null - one.spans[0].score for one, _ in known],
        [f1(text, question.golds or ()) for text, (_, question) in zip(best, known, strict=True)],
        [f1("", question.golds or ()) for _, question in known],
    )


def compared(found: Found, threshold: float | None) -> tuple[FloatArray, int]:
    """What the answer is chosen from, and its place there: scores of spans, then of no answer where it may be said."""
    scores = [span.score for span in found.spans]
    if threshold is not None or not scores:
        scores.append(found.null - (threshold or 0.0))
    return np.array(scores), int(np.argmax(scores))
