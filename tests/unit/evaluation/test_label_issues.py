"""Flipped labels are found, clean ones are left alone, and each row is judged by models that never saw it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from finetide.contracts.label_issues import LabelIssues
from finetide.engine import probe
from finetide.evaluation import label_issues

LABELS = tuple("abcd")


def frame(targets: np.ndarray, name: str) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "row_id": [f"{name}.csv:{line}" for line in range(2, len(targets) + 2)],
            "role": "reference",
            "file": f"{name}.csv",
            "line": range(2, len(targets) + 2),
            "label": [LABELS[target] for target in targets],
            "split": name,
            "group": None,
            "text": [f"{name} {place}" for place in range(len(targets))],
        }
    )


def cloud(rows: int, seed: int, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Points around the corners of a square, one corner a label."""
    rng = np.random.default_rng(seed)
    truth = np.arange(rows) % 4
    corners = np.eye(4, 8) * 4
    return (corners[truth] + rng.normal(0, spread, (rows, 8))).astype(np.float32), truth


def flip(truth: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, set[int]]:
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(truth), int(len(truth) * share), replace=False)
    given = truth.copy()
    given[rows] = (truth[rows] + rng.integers(1, 4, len(rows))) % 4
    return given, set(rows.tolist())


def judged(
    train: tuple[np.ndarray, np.ndarray], validation: tuple[np.ndarray, np.ndarray], texts: pd.Series | None = None
) -> LabelIssues:
    (x, y), (others, truth) = train, validation
    rows = frame(y, "train")
    if texts is not None:
        rows = rows.assign(text=texts)
    folds = label_issues.folds(y, label_issues.contents(rows))
    found, rest = probe.out_of_fold(x, y, folds, others, labels=4, strengths=(0.1, 0.01), max_iterations=50)
    return label_issues.report((rows, y, found), (frame(truth, "validation"), truth, rest), LABELS)


def test_most_of_the_first_suspects_are_the_flipped_rows() -> None:
    x, truth = cloud(400, 1)
    given, flipped = flip(truth, 0.1, 2)
    others, other_truth = cloud(80, 3)
    other_given, other_flipped = flip(other_truth, 0.1, 4)
    found = judged((x, given), (others, other_given))
    first = {issue.line - 2 for issue in found.train.issues[: len(flipped)]}
    assert len(first & flipped) >= 0.8 * len(flipped)
    right = [issue for issue in found.train.issues if issue.line - 2 in flipped]
    assert np.mean([issue.likely == LABELS[truth[issue.line - 2]] for issue in right]) > 0.9
    listed = {issue.line - 2 for issue in found.validation.issues}
    assert len(listed & other_flipped) >= len(other_flipped) / 2
    assert len(listed - other_flipped) <= 2
    assert (found.train.rows, found.validation.rows) == (400, 80)
    assert 0.8 < found.train.accuracy < 0.95


def test_clean_labels_are_left_alone() -> None:
    found = judged(cloud(400, 1, 0.8), cloud(80, 3, 0.8))
    assert found.train.suspects <= 4
    assert found.validation.suspects <= 1


def test_a_suspect_is_listed_with_where_it_stands_and_how_sure() -> None:
    x, truth = cloud(200, 1, 0.5)
    given = truth.copy()
    given[17] = (truth[17] + 1) % 4
    found = judged((x, given), cloud(40, 3, 0.5), pd.Series(["x" * 1000] + [f"m {i}" for i in range(1, 200)]))
    (issue,) = found.train.issues
    assert (issue.row_id, issue.file, issue.line, issue.value) == ("train.csv:19", "train.csv", 19, "m 17")
    assert (issue.given, issue.likely) == (LABELS[given[17]], LABELS[truth[17]])
    assert issue.confidence > 0.9 > 0.1 > issue.given_probability
    long = label_issues._issue(frame(truth, "t"), ["y" * 1000] * 200, 0, truth, np.eye(4)[truth], LABELS)
    assert long.value == "y" * 299 + "…"


def test_the_clearest_come_first() -> None:
    x, truth = cloud(400, 1)
    found = judged((x, flip(truth, 0.1, 2)[0]), cloud(80, 3))
    margins = [issue.confidence - issue.given_probability for issue in found.train.issues]
    assert margins == sorted(margins, reverse=True)


def test_validation_rows_do_not_touch_the_list_of_training_rows() -> None:
    train = cloud(200, 1)[0], flip(cloud(200, 1)[1], 0.1, 2)[0]
    clean = judged(train, cloud(40, 3))
    noisy = judged(train, (cloud(40, 3)[0], flip(cloud(40, 3)[1], 0.5, 4)[0]))
    assert clean.train == noisy.train
    assert noisy.validation.suspects > clean.validation.suspects


def test_the_only_row_of_a_label_is_not_judged() -> None:
    """No model has ever seen its label, so each would call it wrong."""
    x, truth = cloud(150, 1, 0.5)
    given = np.where(truth == 3, 2, truth)
    given[3] = 3
    found = judged((x, given), cloud(40, 3, 0.5))
    assert found.train.rows == 149
    assert "train.csv:5" not in [issue.row_id for issue in found.train.issues]
    assert found.validation.rows == 30


@pytest.mark.parametrize("rows", [2, 3, 7])
def test_very_few_rows_are_no_error(rows: int) -> None:
    found = judged(cloud(rows, 1), cloud(3, 2))
    assert found.train.rows <= rows


def test_one_label_in_validation_is_no_error() -> None:
    x, truth = cloud(40, 2)
    assert judged(cloud(100, 1), (x[truth == 1], truth[truth == 1])).validation.rows == 10


def test_copies_under_one_label_share_a_fold_and_labels_are_dealt_evenly() -> None:
    targets = np.arange(200) % 4
    said = [f"text {place // 8}" for place in range(200)]  # each text twice under each label
    folds = label_issues.folds(targets, said)
    groups: dict[tuple[int, str], set[int]] = {}
    for target, text, fold in zip(targets.tolist(), said, folds.tolist(), strict=True):
        groups.setdefault((target, text), set()).add(fold)
    assert all(len(found) == 1 for found in groups.values())
    for target in range(4):
        assert np.bincount(folds[targets == target], minlength=5).tolist() == [10] * 5


def test_a_fold_goes_with_the_content_and_not_with_the_place() -> None:
    targets, said = np.arange(60) % 3, [f"text {place}" for place in range(60)]
    order = np.random.default_rng(0).permutation(60)
    moved = label_issues.folds(targets[order], [said[place] for place in order])
    assert moved.tolist() == label_issues.folds(targets, said)[order].tolist()


def test_the_same_text_under_two_labels_makes_both_suspects() -> None:
    x, truth = cloud(200, 1, 0.5)
    given = truth.copy()
    x[1], given[1] = x[0], (truth[0] + 1) % 4
    texts = pd.Series(["the same", "the same", *[f"m {place}" for place in range(2, 200)]])
    found = judged((x, given), cloud(40, 3, 0.5), texts)
    assert "train.csv:3" in [issue.row_id for issue in found.train.issues]
