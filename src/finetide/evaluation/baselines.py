"""What a fine-tuned model must beat to be worth its cost. Features in, label indices out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from finetide.evaluation.align import align, label_indices
from finetide.metrics.classification import FloatArray, IntArray

# Inverse strengths of the L2 penalty that the reference-only probe tries, from strong to weak.
PROBE_STRENGTHS = (0.01, 0.1, 1.0, 10.0)
PROBE_ITERATIONS = 5000
# Of TF-IDF: the most frequent words and pairs of words, which bounds its time; and one strength, usual for such texts.
TERMS = 20_000
TERMS_STRENGTH = 10.0
WORD = r"(?u)\w+"


@dataclass(frozen=True)
class Frozen:
    """Features of the untouched base: of rows by id, shape [rows, hidden], and of what stands for each label in
    zero-shot [labels, hidden], which is called ``name``."""

    ids: tuple[str, ...]
    rows: FloatArray
    labels: FloatArray
    name: str = "zero-shot"

    def of(self, rows: pd.DataFrame) -> FloatArray:
        return align(list(rows["row_id"]), self.ids, self.rows)


@dataclass(frozen=True)
class Probe:
    """The linear probe that training started from: weight [labels, hidden], bias [labels]; no rows without one."""

    weight: FloatArray
    bias: FloatArray


def rows_needed(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows whose base features the baselines use: labelled test rows and, where there are incoming rows, the
    labelled reference rows that the reference-only probe learns from."""
    wanted = rows["split"] == "test"
    if (rows["role"] == "incoming").any():
        wanted |= rows["role"] == "reference"
    return rows[wanted & rows["label"].notna()]


def predict_all(
    rows: pd.DataFrame, test: pd.DataFrame, frozen: Frozen, trained: Probe, labels: Sequence[str]
) -> dict[str, IntArray]:
    """Label indices of the test rows by baseline, in the order of ``test``.

    Args:
        rows: the whole table; training and validation rows are read from it.
        labels: of the model. Rows with another label teach a baseline nothing, as they taught the model nothing.
    """
    taught = rows[rows["label"].isin(list(labels))]
    train = taught[taught["split"] == "train"]
    features = frozen.of(test)
    found = {
        "majority": majority(label_indices(list(train["label"]), labels), len(test)),
        frozen.name: zero_shot(features, frozen.labels),
    }
    if "text" in rows:
        terms = tf_idf(list(train["text"]), label_indices(list(train["label"]), labels), list(test["text"]))
        found |= {} if terms is None else {"tf-idf": terms}
    if len(trained.weight):
        found["probe"] = probe(features, trained)
    reference = taught[taught["role"] == "reference"]
    if (rows["role"] == "incoming").any() and (reference["split"] == "train").any():

        def side(split: str) -> tuple[FloatArray, IntArray]:
            part = reference[reference["split"] == split]
            return frozen.of(part), label_indices(list(part["label"]), labels)

        found["probe-reference-only"] = reference_probe(side("train"), side("validation"), features)
    return found


def majority(train: IntArray, rows: int) -> IntArray:
    """The most frequent label of the training rows (the first of equals) for each of ``rows`` rows."""
    return np.full(rows, int(np.bincount(train).argmax()), dtype=np.int64)


def means(features: FloatArray, owner: IntArray, labels: int) -> FloatArray:
    """Mean features of each label, [labels, hidden]; zeros for a label without rows.

    Args: features: [rows, hidden]; owner: index of each row's label.
    """
    found = np.zeros((labels, features.shape[1]), features.dtype)
    for label in np.unique(owner):
        found[label] = features[owner == label].mean(axis=0)
    return found


def zero_shot(features: FloatArray, label_features: FloatArray) -> IntArray:
    """Label whose text, or whose examples' mean, lies nearest by cosine.

    Args:
        features: of the rows, shape [rows, hidden]. label_features: of the labels, shape [labels, hidden].
    """
    return np.asarray((_unit(features) @ _unit(label_features).T).argmax(axis=1), dtype=np.int64)


def tf_idf(train: Sequence[str], truth: IntArray, texts: Sequence[str]) -> IntArray | None:
    """Label indices of ``texts`` by logistic regression on TF-IDF of words and pairs of words: what one has without a
    neural network. Its solver (L-BFGS) draws nothing by chance. None where no training text has a word.

    Args: truth: label indices of ``train``, shape [rows].
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(truth)) == 1:
        return np.full(len(texts), truth[0], dtype=np.int64)
    if not any(re.search(WORD, text) for text in train):
        return None
    terms = TfidfVectorizer(ngram_range=(1, 2), max_features=TERMS, sublinear_tf=True, token_pattern=WORD)
    model = LogisticRegression(C=TERMS_STRENGTH, max_iter=PROBE_ITERATIONS, tol=1e-3)
    model.fit(terms.fit_transform(train), truth)
    return np.asarray(model.predict(terms.transform(texts)), dtype=np.int64) if len(texts) else truth[:0]


def probe(features: FloatArray, trained: Probe) -> IntArray:
    """What the linear probe says of features of shape [rows, hidden]."""
    logits = features.astype(np.float64) @ trained.weight.astype(np.float64).T + trained.bias
    return np.asarray(logits.argmax(axis=1), dtype=np.int64)


def reference_probe(
    train: tuple[FloatArray, IntArray], validation: tuple[FloatArray, IntArray], features: FloatArray
) -> IntArray:
    """Logistic regression on the frozen features of reference rows alone: what one has without the incoming labels.

    Args:
        train, validation: features [rows, hidden] and label indices [rows] of reference rows. The strength of the
            penalty with the best accuracy on ``validation`` wins, the strongest of equals.
        features: of the rows to predict.
    """
    from sklearn.linear_model import LogisticRegression

    inputs, truth = train
    if len(np.unique(truth)) == 1:
        return np.full(len(features), truth[0], dtype=np.int64)
    mean, scale = inputs.mean(axis=0, dtype=np.float64), inputs.std(axis=0, dtype=np.float64) + 1e-8

    def predict(model: LogisticRegression, rows: FloatArray) -> IntArray:
        return np.asarray(model.predict((rows - mean) / scale), dtype=np.int64)

    fitted = [
        LogisticRegression(C=strength, max_iter=PROBE_ITERATIONS, tol=1e-3).fit((inputs - mean) / scale, truth)
        for strength in PROBE_STRENGTHS
    ]
    held_features, held_truth = validation
    if len(held_truth) == 0:
        return predict(fitted[PROBE_STRENGTHS.index(1.0)], features)
    right = [int((predict(model, held_features) == held_truth).sum()) for model in fitted]
    return predict(fitted[int(np.argmax(right))], features)


def _unit(features: FloatArray) -> FloatArray:
    values = features.astype(np.float64)
    return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12))
