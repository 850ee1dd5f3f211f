"""All checks together: what stands in the way, what goes to quarantine, and the verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

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
from finetide.data.table import counted
from finetide.data.text import blocks, contents

QUARANTINE_COLUMNS = ("row_id", "file", "line", "reason", "text", "label")
CountTokens = Callable[[Sequence[str]], Sequence[int]]


@dataclass(frozen=True)
class Quality:
    """``clean``: the rows that stay, with the canonical columns; ``quarantine``: those that do not, with
    `QUARANTINE_COLUMNS`."""

    verdict: QualityVerdict
    clean: pd.DataFrame
    quarantine: pd.DataFrame


def assess(
    rows: pd.DataFrame,
    suite: dict[str, Any],
    params: ValidateParams,
    *,
    count_tokens: CountTokens,
    max_length: int,
    first_window: bool,
) -> Quality:
    """Check ``rows`` (canonical columns), quarantine what may be, and judge what stays.

    Rows that a critical check refuses one by one go to quarantine while they are no more than
    ``params.max_quarantine_share`` of all rows: their findings are warnings then. Otherwise all rows stay, and the
    verdict is fail.

    Raises: DataError when the suite has an expectation that cannot be built.
    """
    found = contents(rows["text"])
    table = rows.assign(content=np.where(found.of_row == found.empty, -1, found.of_row)).reset_index(drop=True)
    del found
    tokens = _tokens(table["text"], count_tokens)
    labels = checks.label_set(table, params.labels)
    give_back()

    by_row = _row_checks(table, labels, params, first_window)
    sound = _without(table, _refused(by_row))
    derived = sound.drop(columns="content").assign(
        text_length=sound["text"].str.len().astype(np.int32),
        text_tokens=tokens if sound is table else tokens[sound.index],
    )
    outcomes = run_suite(suite, derived)
    del sound, derived
    by_suite = [_as_check(outcome) for outcome in outcomes]

    refused = _refused([*by_row, *by_suite])
    small = len(refused) <= params.max_quarantine_share * len(table)
    if refused and small:
        by_row, by_suite = _quarantined(by_row), _quarantined(by_suite)
    out = table["row_id"].isin(refused) & small
    kept = _without(table, refused) if small else table
    own = [*by_row, _quarantine_check(refused, len(table), params), *_table_checks(kept, tokens, labels, params)]
    own.append(checks.long_texts(kept, tokens if len(kept) == len(table) else tokens[~out], max_length))
    results = [*(check.result() for check in own), *_suite_results(outcomes, by_suite)]
    verdict = _verdict(table, kept, labels, [*own, *by_suite], results)
    return Quality(verdict, kept.drop(columns="content"), _quarantine(table[out], [*by_row, *by_suite]))


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


def _row_checks(table: pd.DataFrame, labels: Sequence[str], params: ValidateParams, first_window: bool) -> list[Check]:
    """Those that speak of single rows and can send them to quarantine."""
    empty = checks.empty_texts(table)
    unknown = checks.unknown_labels(table, labels, given=params.labels is not None)
    # A label that does not count cannot contradict one that does.
    sound = _without(table, {*empty.row_ids, *unknown.row_ids})
    return [
        empty,
        checks.missing_labels(table, first_window=first_window),
        unknown,
        checks.label_conflicts(sound),
    ]


def _table_checks(
    kept: pd.DataFrame, tokens: pd.Series[int], labels: Sequence[str], params: ValidateParams
) -> list[Check]:
    return [
        checks.any_rows(kept),
        checks.rare_labels(kept, labels, params.min_rows_per_label),
        checks.alike_labels(kept),
        checks.short_texts(kept, params.min_text_length),
        checks.duplicates(kept),
        checks.near_duplicates(kept, params.near_duplicate_similarity),
        checks.unlabelled_incoming(kept),
        checks.uneven_labels(kept),
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


def _quarantine_check(refused: set[str], rows: int, params: ValidateParams) -> Check:
    name, allowed = "quarantine", f"validate.max_quarantine_share is {params.max_quarantine_share:.1%}"
    if len(refused) <= params.max_quarantine_share * rows:
        return Check(name, "critical", f"{len(refused)} of {rows} rows are in quarantine; {allowed}")
    said = f"{len(refused)} of {rows} rows ({len(refused) / rows:.1%}) are bad; {allowed}, so none was quarantined"
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
        reason=_reason(critical, sum(one.severity == "warning" for one in findings)),
        rows=len(table),
        kept=len(kept),
        quarantined=len(table) - len(kept),
        labels=labels,
        counts={role: _label_counts(kept.loc[of, "label"]) for role in ROLES if (of := kept["role"] == role).any()},
        checks=tuple(results),
        findings=tuple(findings),
    )


def _reason(critical: Sequence[str], warnings: int) -> str:
    if critical:
        return f"{len(critical)} critical finding{'s' if len(critical) > 1 else ''}: {'; '.join(critical)}."
    return f"No critical finding; {warnings} warning{'' if warnings == 1 else 's'}."


def _label_counts(labels: pd.Series[Any]) -> dict[str, int]:
    return {str(label): int(count) for label, count in counted(labels).sort_index().items()}


def _quarantine(rows: pd.DataFrame, found: Sequence[Check]) -> pd.DataFrame:
    reasons: dict[str, list[str]] = {}
    for check in found:
        if check.quarantined:
            for row_id in check.row_ids:
                reasons.setdefault(row_id, []).append(check.name)
    return rows.assign(reason=["; ".join(reasons[row_id]) for row_id in rows["row_id"]])[list(QUARANTINE_COLUMNS)]
