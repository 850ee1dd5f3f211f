"""The one door to Great Expectations: suites as JSON in git, run on the table of rows."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd

from finetide.contracts.quality import CheckResult, Severity
from finetide.data.text import shown
from finetide.errors import DataError, IntegrityError
from finetide.files import read_json

SUITE_KEYS = ("name", "expectations")
SUITE_FIX = (
    "correct the suite; `finetide init` shows a whole one, and the expectations are those of Great Expectations 1.x"
)


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

    Args:
        suite: as `read_suite` returned it.
        rows: the canonical columns, ``text_length`` (characters) and ``text_tokens`` beside them.

    Raises:
        DataError: an expectation that Great Expectations does not know, or with settings that it refuses.
    """
    # As Python strings: pandas would hand the others' patterns to Arrow, whose \w and \s know ASCII only.
    frame = rows.assign(**{name: _python_strings(rows[name]) for name in rows.columns if rows[name].dtype == "str"})
    with _great_expectations() as gx:
        expectations = [_build(entry, at) for at, entry in enumerate(suite["expectations"])]
        made = gx.ExpectationSuite(name=str(suite["name"]), expectations=expectations)
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = {"globally": False, "metric_calculations": False}
        asset = context.data_sources.add_pandas("finetide").add_dataframe_asset("rows")
        batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
        wanted = {"result_format": "COMPLETE", "unexpected_index_column_names": ["row_id"]}
        found = batch.validate(made, result_format=wanted).results
    # Great Expectations puts those that could not run first; a report is easier to read in the suite's order.
    ordered = sorted(found, key=lambda result: int(result.expectation_config.meta["finetide_position"]))
    if len(ordered) != len(suite["expectations"]):
        raise DataError("has expectations that did not run", where="suite.json", found=len(ordered), fix=SUITE_FIX)
    return [_outcome(result, len(rows)) for result in ordered]


def _python_strings(column: pd.Series[str]) -> pd.Series[str]:
    """As objects; equal strings are one object, for labels, roles and files repeat."""
    codes, words = pd.factorize(column, use_na_sentinel=True)
    objects = np.append(words.astype(object).to_numpy(), np.nan).astype(object)
    return pd.Series(objects[codes], index=column.index, dtype=object)


def read_suite(path: Path) -> dict[str, Any]:
    """Raises: DataError when the file is no suite: not JSON, or without a name and a list of expectations."""
    try:
        suite = read_json(path)
    except IntegrityError as error:
        raise DataError(error.what, where=path.name, fix=SUITE_FIX) from error
    entries = suite.get("expectations") if isinstance(suite, dict) else None
    if not isinstance(entries, list) or not isinstance(suite.get("name"), str):
        raise DataError(
            "is no suite: it needs a name and a list of expectations",
            where=path.name,
            found=", ".join(suite) if isinstance(suite, dict) else type(suite).__name__,
            fix=SUITE_FIX,
        )
    for at, entry in enumerate(entries):
        _check_entry(entry, f"{path.name}: expectations[{at}]")
    return dict(suite)


def check_suite(path: Path) -> str:
    """What `finetide check` says of a suite: its shape is checked without the seconds of loading Great Expectations;
    whether it knows the expectations comes out in the validate stage. Raises: DataError as `read_suite`."""
    entries = read_suite(path)["expectations"]
    critical = sum(entry["severity"] == "critical" for entry in entries)
    return f"{len(entries)} expectations, {critical} of them critical"


def _check_entry(entry: Any, where: str) -> None:
    """Every expectation says its severity: Great Expectations would take a missing one for critical, silently."""
    if not isinstance(entry, dict) or not isinstance(entry.get("type"), str):
        raise DataError("needs a type", where=where, found=shown(entry), fix=SUITE_FIX)
    if entry.get("severity") not in get_args(Severity):
        raise DataError(
            "needs a severity: critical, warning or info", where=where, found=entry.get("severity"), fix=SUITE_FIX
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


def _build(entry: dict[str, Any], at: int) -> Any:
    """One expectation. Built by hand, for a suite only logs what it cannot build, and goes on without it."""
    from great_expectations.expectations import registry
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    where = f"suite.json: expectations[{at}]"
    known = registry.list_registered_expectation_implementations()
    if entry["type"] not in known:
        near = get_close_matches(entry["type"], known, n=1)
        raise DataError(
            "Great Expectations knows no such expectation",
            where=where,
            found=entry["type"],
            fix=f"did you mean {near[0]!r}?" if near else SUITE_FIX,
        )
    meta = {**(entry.get("meta") or {}), "finetide_position": at}
    given = {key: value for key, value in entry.items() if key != "id"}
    try:
        return ExpectationConfiguration(**{**given, "meta": meta}).to_domain_obj()
    except Exception as error:  # pydantic v1's errors, its own and TypeErrors: whatever it is, the entry is refused.
        raise DataError(
            f"{entry['type']}: {_one_line(error)}", where=where, found=shown(entry.get("kwargs")), fix=SUITE_FIX
        ) from error


def _outcome(result: Any, rows: int) -> Outcome:
    config = result.expectation_config
    kwargs = dict(config.kwargs)
    column = kwargs.get("column")
    stopped = _exception(result.exception_info)
    indexed = result.result.get("unexpected_index_list") or []
    row_ids = () if result.success else tuple(dict.fromkeys(str(entry["row_id"]) for entry in indexed))
    severity: Severity = "critical" if stopped else config.severity.value
    check = CheckResult(
        check=f"{config.type}({column})" if column else str(config.type),
        source="great-expectations",
        severity=severity,
        passed=bool(result.success) and not stopped,
        detail=stopped or _detail(result.result, kwargs, rows),
    )
    notes = str((config.meta or {}).get("notes") or "")
    return Outcome(check, notes, column, row_ids, bool(stopped))


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
