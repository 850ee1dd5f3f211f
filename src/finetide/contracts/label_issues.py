"""label_issues.json: labels that look wrong to models that never saw the row."""

from __future__ import annotations

from typing import Literal

from finetide.contracts.base import Contract


class LabelIssue(Contract):
    """``confidence`` and ``given_probability``: out-of-sample probabilities of the likely and of the given label.
    ``value``: the row's content, cut to 300 characters."""

    row_id: str
    file: str
    line: int
    value: str
    given: str
    likely: str
    confidence: float
    given_probability: float


class SideIssues(Contract):
    """``rows``: how many could be judged; ``suspects``: how many labels look wrong; ``accuracy``: share of the judged
    rows whose given label is the most probable one; ``issues``: the clearest suspects first, at most 1,000."""

    rows: int
    suspects: int
    accuracy: float
    issues: tuple[LabelIssue, ...]


class LabelIssues(Contract):
    """For people: nothing decides by it. Test rows are never looked at."""

    schema_version: Literal[1] = 1
    train: SideIssues
    validation: SideIssues
