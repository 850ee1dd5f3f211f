"""Labels that look wrong, by confident learning on out-of-sample probabilities.

Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 70 (2021), §3, as
cleanlab implements it.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd

from finetide.contracts.label_issues import LabelIssue, LabelIssues, SideIssues
from finetide.contracts.rows import content_columns, shown_columns
from finetide.files import sha256_bytes
from finetide.metrics.classification import FloatArray, IntArray

FOLDS = 5
LISTED, SHOWN_CHARACTERS = 1000, 300
# A suspect's own label has at most this probability. Probes on frozen features are often unsure, and where they are
# right in seven rows of ten, most rows of which they think otherwise by a little are labelled as they should be.
GIVEN_AT_MOST = 0.2
NOTHING = LabelIssues(
    train=SideIssues(rows=0, suspects=0, accuracy=0.0, issues=()),
    validation=SideIssues(rows=0, suspects=0, accuracy=0.0, issues=()),
)


def contents(rows: pd.DataFrame) -> list[str]:
    """What each row says: its payload in one string."""
    return _joined(rows, content_columns(rows.columns))


def _joined(rows: pd.DataFrame, columns: list[str]) -> list[str]:
    return [" · ".join(map(str, row)) for row in rows[columns].itertuples(index=False)]


def folds(targets: IntArray, said: Sequence[str]) -> IntArray:
    """Fold of each row, 0 to 4: each label's rows are dealt out evenly, in the order of a hash of their content.

    Rows that say the same under one label share a fold, so that none is vouched for by its copy. Under two labels
    they may not, and then both are suspects, as they should be.
    """
    found = np.zeros(len(targets), dtype=np.int64)
    for place, label in enumerate(np.unique(targets)):
        rows = np.flatnonzero(targets == label).tolist()
        digests = [sha256_bytes(said[row].encode()) for row in rows]
        _, rank = np.unique(digests, return_inverse=True)
        found[rows] = (rank + place) % FOLDS  # the first fold of a label varies, for labels of few rows
    return found


def report(
    train: tuple[pd.DataFrame, IntArray, FloatArray],
    validation: tuple[pd.DataFrame, IntArray, FloatArray],
    labels: Sequence[str],
) -> LabelIssues:
    """Args: train, validation: rows, label indices [rows] and out-of-sample probabilities [rows, labels].

    Validation rows are few, so they are judged together with the training rows; those are judged alone.
    """
    known = _known(train[0], train[1], len(labels))
    both = tuple(np.concatenate([train[part], validation[part]]) for part in (1, 2))
    suspects = _suspects(both[0], both[1])
    side = suspects[suspects >= len(train[1])] - len(train[1])
    return LabelIssues(
        train=_side(train, _suspects(train[1], train[2]), known, labels),
        validation=_side(validation, side, known, labels),
    )


def _known(rows: pd.DataFrame, targets: IntArray, labels: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Labels of at least two different training rows: the only row of a label is judged by models that never saw it."""
    pairs = {(int(target), said) for target, said in zip(targets, contents(rows), strict=True)}
    return np.bincount([target for target, _ in pairs], minlength=labels) >= 2


def _suspects(targets: IntArray, probabilities: FloatArray) -> IntArray:
    """Positions of the rows that confident learning would prune by class and by noise rate (C+NR of the paper), where
    the probes are sure of another label."""
    from cleanlab.filter import find_label_issues

    if len(np.unique(targets)) < 2:
        return np.zeros(0, dtype=np.int64)
    with warnings.catch_warnings():
        # It warns of labels with one row or none; those are no suspects here either.
        warnings.filterwarnings("ignore", message="May not flag all label issues")
        # One process: a pool costs more than it saves, and stages start none.
        mask = find_label_issues(targets, probabilities, filter_by="both", n_jobs=1)
    return np.flatnonzero(mask & (probabilities[np.arange(len(targets)), targets] <= GIVEN_AT_MOST))


def _side(
    side: tuple[pd.DataFrame, IntArray, FloatArray],
    suspects: IntArray,
    known: np.ndarray[tuple[int], np.dtype[np.bool_]],
    labels: Sequence[str],
) -> SideIssues:
    rows, targets, probabilities = side
    judged = known[targets]
    right = (probabilities.argmax(axis=1) == targets)[judged]
    said = _joined(rows, shown_columns(rows.columns))
    found = [_issue(rows, said, row, targets, probabilities, labels) for row in suspects.tolist() if judged[row]]
    found.sort(key=lambda issue: (issue.given_probability - issue.confidence, issue.row_id))
    return SideIssues(
        rows=int(judged.sum()),
        suspects=len(found),
        accuracy=float(right.mean()) if len(right) else 0.0,
        issues=tuple(found[:LISTED]),
    )


def _issue(
    rows: pd.DataFrame, said: Sequence[str], row: int, targets: IntArray, probabilities: FloatArray,
    labels: Sequence[str],
) -> LabelIssue:  # fmt: skip
    likely, given = int(probabilities[row].argmax()), int(targets[row])
    entry, value = rows.iloc[row], said[row]
    return LabelIssue(
        row_id=str(entry["row_id"]),
        file=str(entry["file"]),
        line=int(entry["line"]),
        value=value if len(value) <= SHOWN_CHARACTERS else f"{value[: SHOWN_CHARACTERS - 1]}…",
        given=labels[given],
        likely=labels[likely],
        confidence=float(probabilities[row, likely]),
        given_probability=float(probabilities[row, given]),
    )
