"""The one door to Great Expectations: suites as JSON in git, run on the table of rows."""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, get_args

import numpy as np
import pandas as pd

from finetide.contracts.quality import CheckResult, Severity
from finetide.data.memory import give_back
from finetide.data.text import Array, contents, shown
from finetide.errors import DataError, IntegrityError
from finetide.files import read_json

SUITE_KEYS = ("name", "expectations")
# What `read_suite` adds: the file, for messages.
PLACE = "finetide_place"
# Expectations that say of each row by itself whether it is as expected.
BY_ROW = {
    f"expect_column_{what}"
    for what in (
        "values_to_not_be_null",
        "values_to_be_null",
        "values_to_match_regex",
        "values_to_not_match_regex",
        "values_to_match_regex_list",
        "values_to_not_match_regex_list",
        "values_to_be_in_set",
        "values_to_not_be_in_set",
        "values_to_be_between",
        "value_lengths_to_be_between",
        "value_lengths_to_equal",
    )
}
# Expectations that ask which values are equal, and nothing else.
EQUALITY = {"expect_column_values_to_be_unique", "expect_column_proportion_of_unique_values_to_be_between"}
# With a condition on rows, or a setting that is looked up at run time, an expectation sees the whole table.
PLAIN_SETTINGS = {
    "column",
    "mostly",
    "regex",
    "regex_list",
    "match_on",
    "value_set",
    "value",
    "min_value",
    "max_value",
    "strict_min",
    "strict_max",
}
LONG = ("row_id", "text")
COUNTS = ("element_count", "missing_count", "unexpected_count")
SOME_ROWS = 1 << 15


@dataclass(frozen=True)
class Outcome:
    """One expectation after its run. ``row_ids`` are the rows it refuses; none where it judges the table as a whole.
    ``stopped``: it could not be run, which is no pass. ``notes``: what a failure means, in the words of the suite."""

    result: CheckResult
    notes: str
    column: str | None
    row_ids: tuple[str, ...]
    stopped: bool


def run_suite(suite: dict[str, Any], rows: pd.DataFrame) -> list[Outcome]:
    """Run every expectation of ``suite`` on ``rows``, in the order of the suite.

    Those that judge a row by itself see some rows at a time, those that only ask which values are equal see numbers:
    Great Expectations takes Python strings, which need three times the memory.

    Args:
        suite: as `read_suite` returned it.
        rows: the canonical columns, ``text_length`` (characters) and ``text_tokens`` beside them.

    Raises:
        DataError: an expectation that Great Expectations does not know, or with settings that it refuses.
    """
    entries = suite["expectations"]
    with _great_expectations() as gx:
        place = str(suite.get(PLACE, "suite.json"))
        expectations = [_build(entry, at, place) for at, entry in enumerate(entries)]
        validate = _validator(gx, str(suite["name"]))
        parts: dict[str, list[Any]] = {kind: [] for kind in ("by row", "equal", "whole")}
        for entry, expectation in zip(entries, expectations, strict=True):
            parts[_kind(entry, rows)].append(expectation)
        found = validate(parts["equal"], lambda: _numbers(rows))
        found += validate(parts["whole"], lambda: _frame(rows, _named(entries, rows)))
        found += _by_rows(parts["by row"], rows, validate)
    # Great Expectations puts those that could not run first; a report is easier to read in the suite's order.
    ordered = sorted(found, key=lambda one: int(one.config.meta["finetide_position"]))
    if len(ordered) != len(entries):
        raise DataError("has expectations that did not run", where=place, found=len(ordered), fix=_fix(place))
    return [_outcome(one, rows["row_id"]) for one in ordered]


@dataclass(frozen=True)
class _Found:
    """What Great Expectations says of one expectation; ``stopped``: why it could not be run."""

    config: Any
    success: bool
    result: dict[str, Any]
    stopped: str


Validate = Callable[[list[Any], Callable[[], pd.DataFrame]], list[_Found]]


def _validator(gx: Any, name: str) -> Validate:
    """Runs expectations on a frame that is made only if there are any."""
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    batches = context.data_sources.add_pandas("finetide").add_dataframe_asset("rows")
    whole = batches.add_batch_definition_whole_dataframe("all")

    def validate(expectations: list[Any], frame: Callable[[], pd.DataFrame]) -> list[_Found]:
        if not expectations:
            return []
        batch = whole.get_batch({"dataframe": frame()})
        made = gx.ExpectationSuite(name=name, expectations=expectations)
        return [
            _Found(one.expectation_config, bool(one.success), dict(one.result), _exception(one.exception_info))
            for one in batch.validate(made, result_format={"result_format": "COMPLETE"}).results
        ]

    return validate


def _kind(entry: dict[str, Any], rows: pd.DataFrame) -> str:
    """How an expectation may be run without changing what it finds: see `run_suite`."""
    kwargs = entry.get("kwargs") or {}
    plain = set(kwargs) <= PLAIN_SETTINGS and isinstance(kwargs.get("mostly", 1), (int, float))
    if entry["type"] in EQUALITY and plain and kwargs.get("column") in LONG:
        return "equal"
    return "by row" if entry["type"] in BY_ROW and plain and len(rows) > SOME_ROWS else "whole"


def _by_rows(expectations: list[Any], rows: pd.DataFrame, validate: Validate) -> list[_Found]:
    found: dict[int, list[_Found]] = {}
    used = {str(expectation.column) for expectation in expectations}
    named = [name for name in rows.columns if name in used]
    rows = rows[named]
    for start in range(0, len(rows) if expectations else 0, SOME_ROWS):
        for one in validate(expectations, partial(_frame, rows.iloc[start : start + SOME_ROWS], named, start)):
            found.setdefault(int(one.config.meta["finetide_position"]), []).append(one)
        give_back()
    return [_together(parts) for parts in found.values()]


def _together(parts: list[_Found]) -> _Found:
    """One expectation's results on some rows after the other as one, ``mostly`` being a share of all rows."""
    stopped = next((part for part in parts if part.stopped), None)
    if stopped:
        return stopped
    count = {key: sum(part.result.get(key) or 0 for part in parts) for key in COUNTS}
    considered, unexpected = count["element_count"] - count["missing_count"], count["unexpected_count"]
    mostly = parts[0].config.kwargs.get("mostly", 1)
    success = considered == 0 or (considered - unexpected) / considered >= mostly
    refused = [at for part in parts for at in part.result.get("unexpected_index_list") or ()]
    return _Found(parts[0].config, success, {**count, "unexpected_index_list": refused}, "")


def _named(entries: list[dict[str, Any]], rows: pd.DataFrame) -> list[str]:
    """Columns whose values an expectation that sees the whole table may look at: they occur in its settings."""
    whole = [
        entry.get("kwargs")
        for entry in entries
        if _kind(entry, rows) == "whole" and not entry["type"].startswith("expect_table_")
    ]
    settings = json.dumps(whole, default=str)
    return [name for name in rows.columns if re.search(rf"\b{re.escape(name)}\b", settings)]


def _frame(rows: pd.DataFrame, named: Sequence[str], start: int = 0) -> pd.DataFrame:
    """``rows`` with the columns in ``named``, strings as Python strings: pandas would hand the others' patterns to
    Arrow, whose \\w and \\s know ASCII only. Of the other columns there is the name: Great Expectations hashes all
    values that it gets. The index is the row's position, the first being ``start``: refused rows come back by it."""
    made = {name: _values(rows[name]) if name in named else np.int8(0) for name in rows.columns}
    return pd.DataFrame(made, index=pd.RangeIndex(start, start + len(rows)))


def _numbers(rows: pd.DataFrame) -> pd.DataFrame:
    """The long columns as numbers, equal where the strings are."""
    made = {}
    for name in (name for name in LONG if name in rows):
        missing = rows[name].isna().to_numpy()
        same = contents(rows[name].fillna("") if missing.any() else rows[name], same=str).of_row
        made[name] = np.where(missing, np.nan, same) if missing.any() else same
    return pd.DataFrame(made)


def _values(column: pd.Series[Any]) -> Array:
    """As objects where they are strings; equal strings are one object, for labels, roles and files repeat."""
    if str(column.dtype) not in ("str", "category"):
        return column.to_numpy()
    if column.name in LONG:
        return column.astype(object).to_numpy()
    codes, words = pd.factorize(column, use_na_sentinel=True)
    objects = np.append(np.asarray(words.astype(object), dtype=object), np.nan).astype(object)
    chosen: Array = objects[codes]
    return chosen


def read_suite(path: Path) -> dict[str, Any]:
    """Raises: DataError when the file is no suite: not JSON, or without a name and a list of expectations."""
    place = str(path)
    try:
        suite = read_json(path)
    except IntegrityError as error:
        raise DataError(error.what, where=place, fix=_fix(place)) from error
    entries = suite.get("expectations") if isinstance(suite, dict) else None
    if not isinstance(entries, list) or not isinstance(suite.get("name"), str):
        raise DataError(
            "is no suite: it needs a name and a list of expectations",
            where=place,
            found=", ".join(suite) if isinstance(suite, dict) else type(suite).__name__,
            fix=_fix(place),
        )
    for at, entry in enumerate(entries):
        _check_entry(entry, at, place)
    return {**suite, PLACE: place}


def _fix(place: str) -> str:
    """Git has the suite: ``finetide init`` wrote it once, and what the user added is nowhere else."""
    tracked = PurePosixPath(*Path(place).parts[-3:])  # data/MODEL/suite.json
    return f"correct it (expectations are those of Great Expectations 1.x), or take it from git: git checkout {tracked}"


def check_suite(path: Path) -> str:
    """What `finetide check` says of a suite: its shape is checked without the seconds of loading Great Expectations;
    whether it knows the expectations comes out in the validate stage. Raises: DataError as `read_suite`."""
    entries = read_suite(path)["expectations"]
    critical = sum(entry["severity"] == "critical" for entry in entries)
    return f"{len(entries)} expectations, {critical} of them critical"


def _check_entry(entry: Any, at: int, place: str) -> None:
    """Every expectation says its severity: Great Expectations would take a missing one for critical, silently."""
    where, fix = f"{place}: expectations[{at}]", _fix(place)
    if not isinstance(entry, dict) or not isinstance(entry.get("type"), str):
        raise DataError("needs a type", where=where, found=shown(entry), fix=fix)
    if entry.get("severity") not in get_args(Severity):
        raise DataError(
            "needs a severity: critical, warning or info", where=where, found=entry.get("severity"), fix=fix
        )


@contextmanager
def _great_expectations() -> Iterator[Any]:
    # It must be said before the import; releases before 1.24 call home otherwise.
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    with warnings.catch_warnings():
        # Its import and its use of pandas warn of deprecations that are not ours to cure.
        warnings.simplefilter("ignore")
        import great_expectations

        yield great_expectations


def _build(entry: dict[str, Any], at: int, place: str) -> Any:
    """One expectation. Built by hand, for a suite only logs what it cannot build, and goes on without it."""
    from great_expectations.expectations import registry
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    where = f"{place}: expectations[{at}]"
    known = registry.list_registered_expectation_implementations()
    if entry["type"] not in known:
        near = get_close_matches(entry["type"], known, n=1)
        raise DataError(
            "Great Expectations knows no such expectation",
            where=where,
            found=entry["type"],
            fix=f"did you mean {near[0]!r}?" if near else _fix(place),
        )
    meta = {**(entry.get("meta") or {}), "finetide_position": at}
    given = {key: value for key, value in entry.items() if key != "id"}
    try:
        return ExpectationConfiguration(**{**given, "meta": meta}).to_domain_obj()
    except Exception as error:  # pydantic v1's errors, its own and TypeErrors: whatever it is, the entry is refused.
        raise DataError(
            f"{entry['type']}: {_one_line(error)}", where=where, found=shown(entry.get("kwargs")), fix=_fix(place)
        ) from error


def _outcome(found: _Found, row_ids: pd.Series[str]) -> Outcome:
    config = found.config
    kwargs = dict(config.kwargs)
    column = kwargs.get("column")
    refused = [] if found.success else found.result.get("unexpected_index_list") or []
    severity: Severity = "critical" if found.stopped else config.severity.value
    check = CheckResult(
        check=f"{config.type}({column})" if column else str(config.type),
        source="great-expectations",
        severity=severity,
        passed=found.success and not found.stopped,
        detail=found.stopped or _detail(found.result, kwargs, len(row_ids)),
    )
    notes = str((config.meta or {}).get("notes") or "")
    return Outcome(check, notes, column, tuple(dict.fromkeys(map(str, row_ids.iloc[refused]))), bool(found.stopped))


def _exception(info: Any) -> str:
    """Why an expectation could not be run, or the empty string. Great Expectations nests it by metric, or not."""
    parts = [info] if "raised_exception" in info else list(info.values())
    messages = [str(part["exception_message"]) for part in parts if part.get("raised_exception")]
    return f"could not be run: {_one_line(messages[0])}" if messages else ""


def _detail(found: dict[str, Any], kwargs: dict[str, Any], rows: int) -> str:
    wanted = ", ".join(f"{key}={value}" for key, value in kwargs.items() if key not in ("column", "batch_id"))
    if "element_count" in found:
        seen = f"{found.get('unexpected_count', 0)} of {rows} rows are not as expected"
    elif found.get("unexpected_count"):
        seen = f"unexpected: {', '.join(map(shown, found.get('partial_unexpected_list', [])))}"
    elif "observed_value" in found and not isinstance(found["observed_value"], (list, dict)):
        seen = f"observed: {shown(_rounded(found['observed_value']))}"
    else:
        seen = "as expected"
    return f"{seen}; {wanted}" if wanted else seen


def _rounded(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _one_line(error: object) -> str:
    return " ".join(str(error).split())[:300]
