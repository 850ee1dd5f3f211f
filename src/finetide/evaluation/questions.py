"""Evaluates question answering; see `finetide.evaluation.kinds.Scores`."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from finetide.config.evaluate import MeasureParams
from finetide.contracts.metrics import AnswerEvaluation, KindReport, Measure, Metrics, Mistake, ReliabilityBin
from finetide.data.questions.answers import golds
from finetide.data.questions.schema import ANSWERABLE, UNANSWERABLE
from finetide.evaluation.kinds import Held, Scored
from finetide.evaluation.measures import BoolArray, role_masks
from finetide.metrics.answers import (
    compared,
    exact_match,
    f1,
    fit_temperature,
    normalise,
    question_type,
    sentences,
    threshold_of,
)
from finetide.metrics.calibration import ece, reliability
from finetide.metrics.classification import FloatArray
from finetide.metrics.means import bootstrap_mean
from finetide.seeding import generator
from finetide.spans import Asked, Chosen, Found, choose, find_all
from finetide.task import Anchors

if TYPE_CHECKING:
    from finetide.evaluation.kinds import Model

MISTAKES = 30
SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("row_id", "role", "split", "label", "predicted")]
    + [("start", pa.int64())]
    + [(name, pa.float64()) for name in ("score", "calibrated", "exact_match", "f1")]
)


class _Questions:
    def score(self, held: Held) -> Scored:
        rows = held.held.reset_index(drop=True)
        asked = asked_of(rows)
        found = found_of(held.model, rows)
        labelled = rows["label"].notna().to_numpy()
        validation = np.flatnonzero((rows["split"] == "validation").to_numpy() & labelled).tolist()
        threshold, temperature = fitted(
            [found[place] for place in validation], [asked[place] for place in validation], _taught(held.rows)
        )
        told = [choose(one, ask.context, threshold, temperature) for one, ask in zip(found, asked, strict=True)]
        raw = [choose(one, ask.context, threshold, 1.0).score for one, ask in zip(found, asked, strict=True)]
        test = np.flatnonzero((rows["split"] == "test").to_numpy() & labelled)
        part, masks = rows.iloc[test], role_masks(list(rows["role"].iloc[test]))
        answers, questions = [told[place].text for place in test], [asked[place] for place in test]
        values = graded(answers, questions)
        scores = {"ece": np.array([raw[place] for place in test]), "ece_calibrated": _scores(told, test)}
        roles = {
            role: {
                **_measures(values, mask, list(part["label"]), held, f"model/{role}"),
                **_calibration(scores, values["exact_match"], mask, held.params),
            }
            for role, mask in masks.items()
        }
        besides_said = baselines(held, questions, list(rows.loc[validation, "label"]))
        besides = {
            name: {
                role: _measures(graded(said, questions), mask, list(part["label"]), held, f"{name}/{role}")
                for role, mask in masks.items()
            }
            for name, said in besides_said.items()
        }
        evaluation = AnswerEvaluation(
            temperature=temperature,
            null_threshold=threshold,
            kinds=_kinds(part, values, masks),
            reliability=_reliability(scores["ece_calibrated"], values["exact_match"], masks, held.params),
            mistakes=_mistakes(part, questions, [told[place] for place in test], values["f1"]),
        )
        outcomes = [UNANSWERABLE if not text else ANSWERABLE for text in answers]
        pairs = pd.DataFrame({"actual": list(part["label"]), "predicted": outcomes})
        return Scored(Metrics(roles=roles, baselines=besides), evaluation, _table(rows, asked, told, raw), pairs)


def asked_of(rows: pd.DataFrame) -> list[Asked]:
    return [
        Asked(question, context, golds(said))
        for question, context, said in zip(rows["question"], rows["context"], rows["answers"], strict=True)
    ]


def found_of(model: Model, rows: pd.DataFrame) -> list[Found]:
    """What the model says of each row, joined by its id."""
    if rows.empty:
        return []
    examples, outputs = model(rows)
    ids = [examples.ids[places[0]] for places in examples.rows()]
    by_id = dict(zip(ids, find_all(examples.inputs, outputs), strict=True))
    return [by_id[row_id] for row_id in rows["row_id"]]


def fitted(found: Sequence[Found], asked: Sequence[Asked], taught: Collection[str]) -> tuple[float | None, float]:
    """As `tune`, of validation questions; where none of them is without an answer and some of the training are, there
    is nothing to tune the null threshold on, and it is 0. Args: taught: labels of the training rows."""
    threshold, temperature = tune(found, asked)
    return (0.0 if threshold is None and UNANSWERABLE in set(taught) else threshold), temperature


def tune(found: Sequence[Found], asked: Sequence[Asked]) -> tuple[float | None, float]:
    """Null threshold and temperature that fit labelled validation questions best."""
    if not asked:
        return None, 1.0
    threshold = threshold_of(found, asked)
    scores = [compared(one, threshold) for one in found]
    right = [
        exact_match(choose(one, ask.context, threshold, 1.0).text, ask.golds or ())
        for one, ask in zip(found, asked, strict=True)
    ]
    return threshold, fit_temperature([one for one, _ in scores], [place for _, place in scores], np.array(right))


def graded(answers: Sequence[str], asked: Sequence[Asked]) -> dict[str, FloatArray]:
    """Exact match and F1 of each answer, [rows] each."""
    pairs = [(text, one.golds or ()) for text, one in zip(answers, asked, strict=True)]
    return {
        "exact_match": np.array([exact_match(*pair) for pair in pairs], np.float64),
        "f1": np.array([f1(*pair) for pair in pairs], np.float64),
    }


def baselines(held: Held, asked: Sequence[Asked], validation: Sequence[str]) -> dict[str, list[str]]:
    """What one can answer without training, by baseline."""
    found = guesses(asked, UNANSWERABLE in {*_taught(held.rows), *validation})
    return {**found, "zero-shot": _zero_shot(held, asked)} if asked else found


def guesses(asked: Sequence[Asked], some_without: bool) -> dict[str, list[str]]:
    """What one can answer without any model, by baseline. Args: some_without: whether some have no answer."""
    found = {"lexical": [lexical(one.question, one.context) for one in asked]}
    return {**found, "no answer": [""] * len(asked)} if some_without else found


def _taught(rows: pd.DataFrame) -> list[str]:
    """Labels of the training rows."""
    return list(rows.loc[rows["split"] == "train", "label"].dropna())


def lexical(question: str, context: str) -> str:
    """The sentence with most of the question's words, rare ones of the context counting more; of it the longest run of
    words that the question does not have."""
    words = set(normalise(question).split())
    parts = [context[start:end] for start, end in sentences(context)] or [context]
    bags = [set(normalise(part).split()) for part in parts]
    weight = {word: np.log(1 + len(parts) / sum(word in bag for bag in bags)) for bag in bags for word in bag}
    best = max(range(len(parts)), key=lambda place: (sum(weight[word] for word in sorted(words & bags[place])), -place))
    return _longest_run(parts[best], words)


def _longest_run(sentence: str, known: set[str]) -> str:
    """Of the words that are not ``known``; articles and punctuation belong to the run around them, and begin none."""
    runs: list[tuple[int, int, int]] = [(0, 0, 0)]
    for match in re.finditer(r"\S+", sentence):
        plain = normalise(match.group())
        start, _, count = runs[-1]
        if plain in known:
            runs.append((match.end(), match.end(), 0))
        elif plain:
            runs[-1] = (start if count else match.start(), match.end(), count + 1)
    start, end, count = max(runs, key=lambda run: (run[2], -run[0]))
    return sentence[start:end] if count else sentence.strip()


def _zero_shot(held: Held, asked: Sequence[Asked]) -> list[str]:
    of_sentences, of_questions = held.base([held.anchors.rows, question_table(asked)])
    return nearest(held.anchors, of_sentences, of_questions, asked)


def question_table(asked: Sequence[Asked]) -> pd.DataFrame:
    """Each question once, as rows of text."""
    questions = list(dict.fromkeys(one.question for one in asked))
    return pd.DataFrame({"row_id": [f"question:{place}" for place in range(len(questions))], "text": questions})


def nearest(anchors: Anchors, of_anchors: FloatArray, of_table: FloatArray, asked: Sequence[Asked]) -> list[str]:
    """The sentence that lies nearest to the question, by the untouched base; of it what `lexical` would take.

    Args: of_anchors, of_table: features of the anchors and of `question_table`, [rows, hidden] each.
    """
    of_sentences, of_questions = _unit(of_anchors), _unit(of_table)
    texts = list(anchors.rows["text"])
    place = {question: at for at, question in enumerate(dict.fromkeys(one.question for one in asked))}
    owners = {context: at for at, context in enumerate(dict.fromkeys(one.context for one in asked))}
    found = []
    for one in asked:
        here = np.flatnonzero(anchors.owner == owners[one.context])
        closest = here[int(np.argmax(of_sentences[here] @ of_questions[place[one.question]]))]
        found.append(_longest_run(texts[closest], set(normalise(one.question).split())))
    return found


def _unit(values: FloatArray) -> FloatArray:
    return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12))


def _scores(told: Sequence[Chosen], places: Any) -> FloatArray:
    return np.array([told[place].score for place in places], np.float64)


def _measures(
    values: Mapping[str, FloatArray], mask: BoolArray, labels: Sequence[str], held: Held, name: str
) -> dict[str, Measure]:
    """Exact match and F1; where some questions have no answer, F1 of those that have one, and how often the others are
    left unanswered."""
    parts = {metric: found[mask] for metric, found in values.items()}
    without = np.asarray(labels, dtype=object)[mask] == UNANSWERABLE
    if without.any():
        parts |= {"answered_f1": parts["f1"][~without], "unanswered": parts["f1"][without]}
    made = {}
    for metric, part in parts.items():
        if len(part):
            chance = generator(held.seed, "evaluate", name, metric)
            params = held.params
            found = bootstrap_mean(part, resamples=params.bootstrap, confidence=params.confidence, chance=chance)
            made[metric] = Measure(value=found.value, low=found.low, high=found.high, rows=len(part))
    return made


def _calibration(
    scores: Mapping[str, FloatArray], right: FloatArray, mask: BoolArray, params: MeasureParams
) -> dict[str, Measure]:
    """How far the probability of an answer is from how often it matches exactly."""
    return {
        name: Measure(
            value=ece(found[mask], right[mask], params.calibration_bins), low=None, high=None, rows=int(mask.sum())
        )
        for name, found in scores.items()
    }


def _kinds(
    test: pd.DataFrame, values: Mapping[str, FloatArray], masks: Mapping[str, BoolArray]
) -> dict[str, dict[str, KindReport]]:
    kinds = np.asarray([question_type(question) for question in test["question"]], dtype=object)
    outcomes = np.asarray(test["label"], dtype=object)
    found: dict[str, dict[str, KindReport]] = {}
    for role, mask in masks.items():
        named = {kind: mask & (kinds == kind) for kind in sorted(set(kinds[mask]))}
        if len(set(outcomes[mask])) > 1:
            named |= {f"({outcome})": mask & (outcomes == outcome) for outcome in sorted(set(outcomes[mask]))}
        found[role] = {
            kind: KindReport(
                exact_match=float(values["exact_match"][rows].mean()), f1=float(values["f1"][rows].mean()),
                rows=int(rows.sum()),
            )
            for kind, rows in named.items()
        }  # fmt: skip
    return found


def _reliability(
    scores: FloatArray, right: FloatArray, masks: Mapping[str, BoolArray], params: MeasureParams
) -> dict[str, tuple[ReliabilityBin, ...]]:
    return {
        role: tuple(
            ReliabilityBin(low=bar.low, high=bar.high, confidence=bar.confidence, accuracy=bar.accuracy, rows=bar.rows)
            for bar in reliability(scores[mask], right[mask], params.calibration_bins)
        )
        for role, mask in masks.items()
    }


def _mistakes(
    test: pd.DataFrame, asked: Sequence[Asked], told: Sequence[Chosen], values: FloatArray
) -> tuple[Mistake, ...]:
    """Answers that share no word with a right one, the surest first."""
    ids = list(test["row_id"])
    wrong = sorted(np.flatnonzero(values == 0).tolist(), key=lambda place: (-told[place].score, ids[place]))
    return tuple(
        Mistake(
            row_id=ids[place],
            text=asked[place].question,
            label=" | ".join(dict.fromkeys(asked[place].golds or ())) or "(no answer)",
            predicted=told[place].text or "(no answer)",
            score=told[place].score,
        )
        for place in wrong[:MISTAKES]
    )


def _table(rows: pd.DataFrame, asked: Sequence[Asked], told: Sequence[Chosen], raw: Sequence[float]) -> pa.Table:
    """``label``: the first right answer, empty where there is none, null where nobody has said."""
    known = [one.golds is not None for one in asked]
    values = graded([one.text for one in told], asked)
    columns: dict[str, Any] = {
        "row_id": list(rows["row_id"]),
        "role": list(rows["role"]),
        "split": list(rows["split"]),
        "label": [None if one.golds is None else next(iter(one.golds), "") for one in asked],
        "predicted": [one.text for one in told],
        "start": [one.start for one in told],
        "score": list(raw),
        "calibrated": [one.score for one in told],
        **{
            name: [float(value) if said else None for value, said in zip(found, known, strict=True)]
            for name, found in values.items()
        },
    }
    return pa.table({name: pa.array(columns[name], SCHEMA.field(name).type) for name in SCHEMA.names}, SCHEMA)


SCORES = _Questions()
