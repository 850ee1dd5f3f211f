"""studies/MODEL/{curve,compare,seeds,layers}.json, and the finished runs that they are made of."""

from __future__ import annotations

from typing import Literal

from finetide.contracts.base import Contract
from finetide.contracts.metrics import Measure

Kind = Literal["curve", "compare", "seeds", "layers"]
Method = Literal["tuned", "champion", "scratch", "probe", "zero-shot"]


class FinishedRun(Contract):
    """One model of a study, kept so that it is never made twice. ``predicted``: what it says of each labelled test
    row, in their order: a label, or the text of an answer. ``seconds``: building and training, not scoring;
    ``joules``: of both. ``energy``: how they were measured, or why not. ``validation``: the task's metric there, null
    for what is not trained. ``gap``, ``trainable``: of the last tune phase, null without one: the metric on a sample of
    training rows less that on validation at the last evaluation, and how many values learned."""

    schema_version: Literal[1] = 1
    method: Method
    seed: int
    rows: int
    predicted: tuple[str, ...]
    validation: float | None
    steps: int
    seconds: float
    joules: float | None
    energy: str
    gap: float | None
    trainable: int | None


class StudyRun(Contract):
    """One seed of a result. ``measures``: metric → value on all test rows together. ``collapsed``: why it counts as
    that, else null. ``gap``, ``trainable``: as in `FinishedRun`."""

    seed: int
    measures: dict[str, float]
    validation: float | None
    steps: int
    seconds: float
    joules: float | None
    gap: float | None
    trainable: int | None
    collapsed: str | None


class Shallower(Contract):
    """On the same training rows the best on validation among the policies with which fewer values learn.
    ``difference``: the main metric less that of this one, on all test rows together."""

    policy: str
    difference: Measure


class StudyResult(Contract):
    """A method on ``rows`` labelled training rows. ``policy``: instead of the layers of the last tune phase in
    params.yaml, null: those. ``roles``: role → metric → mean over the runs, its interval over the test rows.
    ``against``: role → main metric less that of the study's yardstick, on the same rows; empty where it is one.
    ``shallower``: null where no policy of the study tunes less."""

    method: Method
    policy: str | None
    share: float | None
    rows: int
    roles: dict[str, dict[str, Measure]]
    against: dict[str, Measure]
    shallower: Shallower | None
    runs: tuple[StudyRun, ...]


class Study(Contract):
    """``metrics``: the main one first. ``unit``: what labelled rows are called where they are counted. ``labels``: how
    many the model tells apart, null where a row's answer is no label. ``naive``: baseline that needs no model → main
    metric on all test rows together. ``energy``: how it was measured, or why not. ``yardstick``: what ``against`` is
    the difference from, in words. ``made``: method → how it was made. ``left_out``: method → why."""

    schema_version: Literal[1] = 1
    kind: Kind
    model: str
    split_sha256: str
    metrics: tuple[str, ...]
    unit: str
    labels: int | None
    train_rows: int
    validation_rows: int
    test_rows: dict[str, int]
    confidence: float
    naive: dict[str, float]
    energy: str
    yardstick: str
    made: dict[Method, str]
    left_out: dict[Method, str]
    results: tuple[StudyResult, ...]
    sentence: str
