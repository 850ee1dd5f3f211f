"""studies/MODEL/{curve,compare,seeds}.json, and the finished runs that they are made of."""

from __future__ import annotations

from typing import Literal

from finetide.contracts.base import Contract
from finetide.contracts.metrics import Measure

Kind = Literal["curve", "compare", "seeds"]
Method = Literal["tuned", "champion", "scratch", "probe", "zero-shot"]


class FinishedRun(Contract):
    """One model of a study, kept so that it is never made twice. ``predicted``: label indices of the labelled test
    rows, in their order. ``seconds``: building and training, not scoring; ``joules``: of both. ``energy``: how they
    were measured, or why not. ``validation``: accuracy there, null for what is not trained."""

    schema_version: Literal[1] = 1
    method: Method
    seed: int
    rows: int
    predicted: tuple[int, ...]
    validation: float | None
    steps: int
    seconds: float
    joules: float | None
    energy: str


class StudyRun(Contract):
    """One seed of a result, on all test rows together. ``collapsed``: why it counts as that, else null."""

    seed: int
    accuracy: float
    macro_f1: float
    validation: float | None
    steps: int
    seconds: float
    joules: float | None
    collapsed: str | None


class StudyResult(Contract):
    """A method on ``rows`` training labels. ``roles``: role → metric → mean over the runs, its interval over the test
    rows. ``against``: role → accuracy less that of the study's yardstick, on the same rows; empty where it is one."""

    method: Method
    share: float | None
    rows: int
    roles: dict[str, dict[str, Measure]]
    against: dict[str, Measure]
    runs: tuple[StudyRun, ...]


class Study(Contract):
    """``majority``: accuracy of the most frequent label on all test rows together. ``energy``: how it was measured, or
    why not. ``yardstick``: what ``against`` is the difference from, in words. ``made``: method → how it was made.
    ``left_out``: method → why."""

    schema_version: Literal[1] = 1
    kind: Kind
    model: str
    split_sha256: str
    labels: int
    train_rows: int
    validation_rows: int
    test_rows: dict[str, int]
    confidence: float
    majority: float
    energy: str
    yardstick: str
    made: dict[Method, str]
    left_out: dict[Method, str]
    results: tuple[StudyResult, ...]
    sentence: str
