"""All checks together: what stands in the way, what goes to quarantine, and the verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from finetide.config.validate import ValidateParams
from finetide.contracts.quality import CheckResult, QualityVerdict
from finetide.contracts.rows import ROLES
from finetide.data import checks
from finetide.data.checks import Check, finding
from finetide.data.expectations import Outcome, run_suite
from finetide.data.memory import give_back
from finetide.data.progress import bar
from finetide.data.table import SCHEMA, counted
from finetide.data.text import blocks, contents
from finetide.data.tokens import count_tokens

QUARANTINE_COLUMNS = ("row_id", "file", "line", "reason", "text", "label")
CountTokens = Callable[[Sequence[str]], Sequence[int]]


@dataclass(frozen=True)
class Quality:
    """``clean``: the rows that stay, with the canonical columns; ``quarantine``: those that do not, with
    `QUARANTINE_COLUMNS`."""

    verdict: QualityVerdict
    clean: pd.DataFrame
    quarantine: pd.DataFrame


class Subject(Protocol):
    """The checks of what the rows hold, apart from their labels; and the columns that the suite sees besides.

    ``one_label``: whether each row has one of some labels, which are then checked too.
    """

    noun: str
    quarantine: tuple[str, ...]
    one_label: bool

    def prepare(self, rows: pd.DataFrame) -> pd.DataFrame:
        """``rows``, numbered from 0, with ``content``: a number that is the same where the content is, -1 where there
        is none."""

    def derive(self, sound: pd.DataFrame) -> pd.DataFrame:
        """For the suite."""

    def by_row(self, table: pd.DataFrame) -> list[Check]:
        """Checks that can send single rows to quarantine."""

    def unusable(self, table: pd.DataFrame) -> set[str]:
        """Ids of rows that no later stage could read."""

    def by_table(self, kept: pd.DataFrame) -> list[Check]:
        """All others."""

    def at_last(self, kept: pd.DataFrame) -> list[Check]:
        """Those that end the list."""


def assess(
    rows: pd.DataFrame,
    suite: dict[str, Any],
    params: ValidateParams,
    *,
    count_tokens: CountTokens,
    max_length: int,
    first_window: bool,
) -> Quality:
    """Check rows of text. See `judge_rows`."""
    return judge_rows(rows, suite, params, _Texts(params, count_tokens, max_length), first_window=first_window)


class CommonParams(Protocol):
    """The settings of validate that every family has."""

    @property
    def labels(self) -> list[str] | None: ...
    @property
    def min_rows_per_label(self) -> int: ...
    @property
    def max_quarantine_share(self) -> float: ...


def judge_rows(
    rows: pd.DataFrame, suite: dict[str, Any], params: CommonParams, subject: Subject, *, first_window: bool
) -> Quality:
    """Check ``rows`` (canonical columns), quarantine what may be, and judge what stays.

    Rows that a critical check refuses one by one go to quarantine while they are no more than
    ``params.max_quarantine_share`` of all rows: their findings are warnings then. Otherwise the verdict is fail, and
    all rows stay but those that no later stage could read. It is also fail where so many rows of one unknown label went
    to quarantine as a label needs.

    Raises: DataError when the suite has an expectation that cannot be built.
    """
    table = subject.prepare(rows)
    labels = checks.label_set(table, params.labels)
    give_back()

    by_row = _row_checks(table, labels, params, subject, first_window)
    sound = _without(table, _refused(by_row))
    outcomes = run_suite(suite, subject.derive(sound))
    del sound
    by_suite = [_as_check(outcome) for outcome in outcomes]

    refused = _refused([*by_row, *by_suite])
    small = len(refused) <= params.max_quarantine_share * len(table)
    if refused and small:
        by_row, by_suite = _quarantined(by_row), _quarantined(by_suite)
    moved = refused if small else subject.unusable(table)
    out = table["row_id"].isin(moved)
    kept = _without(table, moved)
    own = [
        *by_row,
        (checks.new_labels(table[out], labels, params.min_rows_per_label) if small and subject.one_label else None)
        or _quarantine_check(refused, moved, len(table), params),
        *_table_checks(kept, labels, params, subject),
    ]
    results = [*(check.result() for check in own), *_suite_results(outcomes, by_suite)]
    verdict = _verdict(table, kept, labels, [*own, *by_suite], results)
    quarantine = _quarantine(table[out], [*by_row, *by_suite], subject.quarantine)
    return Quality(verdict, kept.drop(columns="content"), quarantine)


class _Texts:
    """The `Subject` of text."""

    noun = "text"
    quarantine: tuple[str, ...] = QUARANTINE_COLUMNS
    one_label = True

    def __init__(self, params: ValidateParams, count: CountTokens, max_length: int) -> None:
        self._params, self._count, self._max_length = params, count, max_length
        self._tokens: Any = None

    def prepare(self, rows: pd.DataFrame) -> pd.DataFrame:
        found = contents(rows["text"])
        table = rows.assign(content=np.where(found.of_row == found.empty, -1, found.of_row)).reset_index(drop=True)
        del found
        self._tokens = _tokens(table["text"], self._count)
        return table

    def derive(self, sound: pd.DataFrame) -> pd.DataFrame:
        return sound.drop(columns="content").assign(
            text_length=sound["text"].str.len().astype(np.int32), text_tokens=self._of(sound)
        )

    def by_row(self, table: pd.DataFrame) -> list[Check]:
        return [checks.empty_texts(table)]

    def unusable(self, table: pd.DataFrame) -> set[str]:
        del table
        return set()

    def by_table(self, kept: pd.DataFrame) -> list[Check]:
        return [
            checks.short_texts(kept, self._params.min_text_length),
            checks.duplicates(kept),
            checks.near_duplicates(kept, self._params.near_duplicate_similarity),
        ]

    def at_last(self, kept: pd.DataFrame) -> list[Check]:
        return [checks.long_texts(kept, self._of(kept), self._max_length)]

    def _of(self, rows: pd.DataFrame) -> Any:
        """No copy for nothing."""
        return self._tokens if len(rows) == len(self._tokens) else self._tokens[rows.index]


def _without(table: pd.DataFrame, row_ids: set[str]) -> pd.DataFrame:
    """No copy of a large table for nothing."""
    return table[~table["row_id"].isin(row_ids)] if row_ids else table


def _tokens(texts: pd.Series[str], count: CountTokens) -> pd.Series[int]:
    """Some rows at a time: all texts as Python strings would double the memory."""
    counts = np.empty(len(texts), np.int32)
    with bar("counting tokens", len(texts), "row") as progress:
        for start, some in blocks(texts):
            counts[start : start + len(some)] = count(some)
            progress.update(len(some))
    return pd.Series(counts, index=texts.index)


def _row_checks(
    table: pd.DataFrame, labels: Sequence[str], params: CommonParams, subject: Subject, first_window: bool
) -> list[Check]:
    """Those that speak of single rows and can send them to quarantine."""
    content = subject.by_row(table)
    if not subject.one_label:
        return content
    unknown = checks.unknown_labels(table, labels, given=params.labels is not None)
    # A label that does not count cannot contradict one that does.
    sound = _without(table, {*_refused(content), *unknown.row_ids})
    return [
        *content,
        checks.missing_labels(table, first_window=first_window),
        unknown,
        checks.label_conflicts(sound, subject.noun),
    ]


def _table_checks(kept: pd.DataFrame, labels: Sequence[str], params: CommonParams, subject: Subject) -> list[Check]:
    if not subject.one_label:
        unlabelled = checks.unlabelled_incoming(kept)
        return [checks.any_rows(kept), *subject.by_table(kept), unlabelled, *subject.at_last(kept)]
    return [
        checks.any_rows(kept),
        checks.rare_labels(kept, labels, params.min_rows_per_label),
        checks.alike_labels(kept),
        *subject.by_table(kept),
        checks.unlabelled_incoming(kept),
        checks.uneven_labels(kept),
        *subject.at_last(kept),
    ]


def _refused(found: Sequence[Check]) -> set[str]:
    """Rows that a critical check names one by one."""
    return {row_id for check in found if check.severity == "critical" for row_id in check.row_ids}


def _quarantined(found: Sequence[Check]) -> list[Check]:
    return [
        replace(check, severity="warning", message=f"{check.message}; quarantined", quarantined=True)
        if check.severity == "critical" and check.row_ids
        else check
        for check in found
    ]


def _quarantine_check(refused: set[str], moved: set[str], rows: int, params: CommonParams) -> Check:
    name, allowed = "quarantine", f"validate.max_quarantine_share is {params.max_quarantine_share:.1%}"
    if len(refused) <= params.max_quarantine_share * rows:
        return Check(name, "critical", f"{len(refused)} of {rows} rows are in quarantine; {allowed}")
    kept = f"only the {len(moved)} that nothing can read were quarantined" if moved else "none was quarantined"
    said = f"{len(refused)} of {rows} rows ({len(refused) / rows:.1%}) are bad; {allowed}, so {kept}"
    return Check(name, "critical", "", said, "correct the rows that the other critical findings name")


def _as_check(outcome: Outcome) -> Check:
    result = outcome.result
    message = "" if result.passed else f"{outcome.notes}: {result.detail}" if outcome.notes else result.detail
    return Check(
        name=result.check,
        severity=result.severity,
        detail=result.detail,
        message=message,
        fix="correct the expectation in suite.json"
        if outcome.stopped
        else "correct the rows; or the expectation in suite.json, if it asks too much",
        column=outcome.column or "text",
        row_ids=outcome.row_ids,
    )


def _suite_results(outcomes: Sequence[Outcome], found: Sequence[Check]) -> list[CheckResult]:
    """The suite's results with the severity that they have after quarantine."""
    return [
        outcome.result.model_copy(update={"severity": check.severity})
        for outcome, check in zip(outcomes, found, strict=True)
    ]


def _verdict(
    table: pd.DataFrame,
    kept: pd.DataFrame,
    labels: tuple[str, ...],
    found: Sequence[Check],
    results: Sequence[CheckResult],
) -> QualityVerdict:
    shown = {row_id for check in found if not check.passed for row_id in check.row_ids[: checks.SHOWN_ROWS]}
    # An index of all rows would be a Python string each.
    indexed = table[table["row_id"].isin(shown)].set_index("row_id", drop=False)
    order = {"critical": 0, "warning": 1, "info": 2}
    findings = [finding(check, indexed) for check in found if not check.passed]
    findings.sort(key=lambda one: order[one.severity])
    critical = [one.check for one in findings if one.severity == "critical"]
    return QualityVerdict(
        verdict="fail" if critical else "pass",
        reason=_reason(critical, [one.check for one in findings if one.severity == "warning"]),
        rows=len(table),
        kept=len(kept),
        quarantined=len(table) - len(kept),
        labels=labels,
        counts={role: _label_counts(kept.loc[of, "label"]) for role in ROLES if (of := kept["role"] == role).any()},
        checks=tuple(results),
        findings=tuple(findings),
    )


def _reason(critical: Sequence[str], warnings: Sequence[str]) -> str:
    if critical:
        return f"{len(critical)} critical finding{'s' if len(critical) > 1 else ''}: {'; '.join(critical)}."
    if not warnings:
        return "No critical finding, no warning."
    return f"No critical finding; {len(warnings)} warning{'s' if len(warnings) > 1 else ''}: {'; '.join(warnings)}."


def _label_counts(labels: pd.Series[Any]) -> dict[str, int]:
    return {str(label): int(count) for label, count in counted(labels).sort_index().items()}


def _quarantine(rows: pd.DataFrame, found: Sequence[Check], columns: Sequence[str]) -> pd.DataFrame:
    reasons: dict[str, list[str]] = {row_id: [] for row_id in rows["row_id"]}
    for check in found:
        if check.quarantined or check.severity == "critical":
            for row_id in reasons.keys() & set(check.row_ids):
                reasons[row_id].append(check.name)
    return rows.assign(reason=["; ".join(reasons[row_id]) for row_id in rows["row_id"]])[list(columns)]


@dataclass(frozen=True)
class Asked:
    """What validate hands on. ``base``: the folder of the pre-trained model; ``max_length``: what the model reads of
    an input; ``first_window``: whether no champion is pinned."""

    suite: dict[str, Any]
    params: Any
    base: Path
    max_length: int
    first_window: bool


class _TextChecks:
    """See `finetide.data.kinds.Checks`."""

    schema = SCHEMA
    params = ValidateParams

    def assess(self, rows: pd.DataFrame, asked: Asked) -> Quality:
        return assess(
            rows,
            asked.suite,
            asked.params,
            count_tokens=partial(count_tokens, tokenizer=asked.base / "tokenizer.json"),
            max_length=asked.max_length,
            first_window=asked.first_window,
        )


CHECKS = _TextChecks()
