"""Finetide's own checks of the rows. Each is a small function of a table that says what it looked at and found.

The table has the canonical columns and ``content``, the number of the normalised text (`data.text.contents`), -1 for
the empty one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from finetide.contracts.quality import CheckResult, Finding, RowRef, Severity
from finetide.data.near import near_pairs
from finetide.data.table import counted
from finetide.data.text import CHUNK_ROWS, Normalised, nearest, normalise, shown

SHOWN_ROWS = 20
SHOWN_LABELS = 10
UNEVEN_RATIO = 10


@dataclass(frozen=True)
class Check:
    """One check that ran. It passed when ``message`` is empty; else ``row_ids`` are the rows that it is about, all of
    them. ``detail``: what was looked at, for the table of checks. ``quarantined``: its rows are out of the data."""

    name: str
    severity: Severity
    detail: str
    message: str = ""
    fix: str = ""
    column: str = "text"
    row_ids: tuple[str, ...] = ()
    quarantined: bool = False

    @property
    def passed(self) -> bool:
        return not self.message

    def result(self) -> CheckResult:
        return CheckResult(
            check=self.name,
            source="finetide",
            severity=self.severity,
            passed=self.passed,
            detail=self.message or self.detail,
        )


def finding(check: Check, rows: pd.DataFrame) -> Finding:
    """The finding of a check that did not pass, with the first rows as ``rows``, indexed by row id, has them."""
    refs = []
    for row_id in check.row_ids[:SHOWN_ROWS]:
        row: dict[str, Any] = dict(rows.loc[row_id])
        value = shown(row.get(check.column, ""))
        if check.column == "label":
            # A label alone says little: which text, or image, has it?
            value = shown(f"{value} · {row.get('text', row.get('name'))}")
        refs.append(RowRef(row_id=row_id, file=row["file"], line=int(row["line"]), column=check.column, value=value))
    return Finding(
        check=check.name,
        severity=check.severity,
        message=check.message,
        fix=check.fix,
        count=len(check.row_ids),
        rows=tuple(refs),
    )


def label_set(rows: pd.DataFrame, labels: Sequence[str] | None) -> tuple[str, ...]:
    """The labels that rows may have: those of the settings, else those of the reference rows. Sorted."""
    if labels is not None:
        return tuple(sorted(set(labels)))
    return tuple(sorted(rows.loc[rows["role"] == "reference", "label"].dropna().unique()))


def empty_texts(rows: pd.DataFrame) -> Check:
    name, empty = "empty text", rows["content"] < 0
    if not empty.any():
        return Check(name, "critical", "every row has a text")
    return Check(
        name,
        "critical",
        "",
        f"{_rows(empty)} no text, or nothing but white space",
        "write the text, or delete the row",
        "text",
        _ids(rows, empty),
    )


def missing_labels(rows: pd.DataFrame, *, first_window: bool) -> Check:
    """Reference rows without a label. In a first window somebody forgot them. Later windows' reference has taken in
    rows that arrived unlabelled and were acknowledged as they were; these say something about the domain only."""
    name, column = "missing label", "label"
    missing = (rows["role"] == "reference") & rows["label"].isna()
    if not missing.any():
        return Check(name, "critical", "every reference row has a label")
    said = f"{_rows(missing)} no label, and the role reference"
    if not first_window:
        why = f"{said}: they came unlabelled with an earlier window, and are not trained on"
        return Check(name, "info", "", why, LATE_LABELS, column, _ids(rows, missing))
    return Check(name, "critical", "", said, "write the label, or delete the row", column, _ids(rows, missing))


LATE_LABELS = "labels can come later, in a file with the columns row_id and the label column"


def unlabelled_incoming(rows: pd.DataFrame) -> Check:
    name = "unlabelled incoming rows"
    incoming = rows["role"] == "incoming"
    missing = incoming & rows["label"].isna()
    if not missing.any():
        return Check(name, "info", f"all {int(incoming.sum())} incoming rows have a label")
    said = f"{int(missing.sum())} of {int(incoming.sum())} incoming rows have no label and are not trained on"
    return Check(name, "info", "", said, LATE_LABELS, "label", _ids(rows, missing))


def unknown_labels(rows: pd.DataFrame, allowed: Sequence[str], *, given: bool) -> Check:
    """Args: given: ``allowed`` comes from the settings, not from the reference rows."""
    name = "label set"
    unknown = rows["label"].notna() & ~rows["label"].isin(allowed)
    if not unknown.any():
        return Check(name, "critical", f"{len(allowed)} labels: {_listed(allowed)}")
    counts = counted(rows.loc[unknown, "label"]).sort_index()
    named = _listed(f"{shown(label)!r} ({count}{_meant(str(label), allowed)})" for label, count in counts.items())
    where = "validate.labels does not have" if given else "no reference row has"
    fix = "correct the label; or, if it is a new one, " + (
        "add it to validate.labels in params.yaml" if given else "list all labels in validate.labels in params.yaml"
    )
    return Check(
        name, "critical", "", f"{_rows(unknown)} a label that {where}: {named}", fix, "label", _ids(rows, unknown)
    )


def new_labels(rows: pd.DataFrame, allowed: Sequence[str], minimum: int) -> Check | None:
    """None unless ``rows``, which are in quarantine for any reason, have so many of one unknown label as a label needs:
    that is no slip of the pen, and a person knows whether it is a new label.

    Args: minimum: params.yaml's validate.min_rows_per_label.
    """
    counts = counted(rows.loc[~rows["label"].isin(allowed), "label"].dropna())
    many = {str(label): int(count) for label, count in counts.sort_index().items() if count >= minimum}
    if not many:
        return None
    named = _listed(f"{shown(label)!r} ({count}{_meant(label, allowed)})" for label, count in many.items())
    return Check(
        "quarantine",
        "critical",
        "",
        f"{len(rows)} rows are in quarantine, and of a label that is not known there are as many as a label needs "
        f"(validate.min_rows_per_label {minimum}): {named}",
        f"if it is a new label, params.yaml's validate.labels is to list all: {_as_list([*allowed, *many])}; if the "
        "rows are to be left out, approve this",
        "label",
    )


def alike_labels(rows: pd.DataFrame) -> Check:
    name = "labels spelled alike"
    labels = sorted(rows["label"].dropna().unique())
    plain: dict[str, list[str]] = {}
    for label in labels:
        plain.setdefault("".join(sign for sign in label.casefold() if sign.isalnum()) or label, []).append(label)
    groups = [group for group in plain.values() if len(group) > 1]
    if not groups:
        return Check(name, "warning", "no two labels differ by case, spaces or punctuation only")
    said = "; ".join(" and ".join(map(repr, group)) for group in groups)
    minor = rows["label"].isin([label for group in groups for label in group])
    return Check(
        name,
        "warning",
        "",
        f"labels differ by case, spaces or punctuation only: {said}",
        "spell one label one way",
        "label",
        _ids(rows, minor),
    )


def label_conflicts(rows: pd.DataFrame, noun: str = "text") -> Check:
    """Rows whose content has different labels in different rows. Args: noun: what the content is called."""
    name = "conflicting labels"
    # Only a text that is there twice can have two labels.
    chosen = rows["label"].notna() & (rows["content"] >= 0)
    chosen[chosen] = rows.loc[chosen, "content"].duplicated(keep=False)
    labelled = rows.loc[chosen, ["row_id", "content", "label", *(name for name in ("text",) if name in rows)]]
    codes = pd.Series(pd.factorize(labelled["label"])[0], labelled.index)
    clashing = labelled[codes.groupby(labelled["content"], sort=False).transform("nunique") > 1]
    if clashing.empty:
        return Check(name, "critical", f"no {noun} has two labels")
    texts = clashing["content"].nunique()
    first = clashing[clashing["content"] == clashing["content"].iloc[0]].drop_duplicates("label")
    example = ", ".join(
        f"{row_id} {shown(label)!r}" for row_id, label in zip(first["row_id"], first["label"], strict=True)
    )
    return Check(
        name,
        "critical",
        "",
        f"{len(clashing)} rows have {_a(noun)} that has another label elsewhere ({texts} {noun}s), e.g. {example}",
        "decide which label is right, and delete or correct the other rows",
        "label",
        # Rows of one text together: only side by side do they show the conflict.
        tuple(clashing.iloc[np.argsort(_order(clashing), kind="stable")]["row_id"]),
    )


def _order(rows: pd.DataFrame) -> Any:
    """What rows of one content have in common: of texts the words, of others the number."""
    return rows["text"].map(normalise).to_numpy(object) if "text" in rows else rows["content"].to_numpy()


def short_texts(rows: pd.DataFrame, minimum: int) -> Check:
    name = "short text"
    short = pd.Series(False, rows.index)
    for start in range(0, len(rows), CHUNK_ROWS):
        lengths = rows["text"].iloc[start : start + CHUNK_ROWS].str.strip().str.len()
        short.iloc[start : start + CHUNK_ROWS] = (lengths > 0) & (lengths < minimum)
    if not short.any():
        return Check(name, "warning", f"every text has {minimum} characters or more")
    return Check(
        name,
        "warning",
        "",
        f"{_rows(short)} fewer than {minimum} characters (validate.min_text_length)",
        "check that the text is whole",
        "text",
        _ids(rows, short),
    )


def duplicates(rows: pd.DataFrame, noun: str = "text", but: str = " but for case and spaces") -> Check:
    """Rows with the content of an earlier row. Args: noun: what it is called. but: in what they may differ."""
    name = f"duplicate {noun}"
    again = rows["content"].duplicated() & (rows["content"] >= 0)
    if not again.any():
        return Check(name, "warning", f"no two rows have the same {noun}")
    row = rows.iloc[int(again.to_numpy().argmax())]
    older = rows.iloc[int((rows["content"] == row["content"]).to_numpy().argmax())]
    return Check(
        name,
        "warning",
        "",
        f"{_rows(again)} the {noun} of an earlier row{but}, e.g. {row['row_id']} that of {older['row_id']}",
        "delete the copies: they count twice in training and in every score",
        noun if noun in rows else "name",
        _ids(rows, again),
    )


def near_duplicates(rows: pd.DataFrame, threshold: float) -> Check:
    """Rows whose text is nearly that of an earlier one (see `data.near`), exact copies left out."""
    name = "near-duplicate text"
    first = np.flatnonzero(~rows["content"].duplicated() & (rows["content"] >= 0))
    pairs = near_pairs(Normalised(rows["text"], first), threshold)
    if not len(pairs):
        return Check(name, "warning", f"no two texts share {threshold:.0%} of their 5-grams")
    ids = rows["row_id"]
    chosen = np.lexsort((pairs.older, pairs.newer))[0]
    one, other = ids.iloc[first[pairs.newer[chosen]]], ids.iloc[first[pairs.older[chosen]]]
    example = f"{one} is {pairs.similarity[chosen]:.0%} like {other}"
    newer = tuple(ids.iloc[first[np.unique(pairs.newer)]])
    return Check(
        name,
        "warning",
        "",
        f"{len(newer)} rows have a text that shares {threshold:.0%} or more of its 5-grams with an earlier one, "
        f"e.g. {example}",
        "delete those that say nothing new; split keeps them on one side",
        "text",
        newer,
    )


def rare_labels(rows: pd.DataFrame, allowed: Sequence[str], minimum: int) -> Check:
    name = "rows a label"
    counts = counted(rows["label"])
    rare = {label: int(counts.get(label, 0)) for label in allowed if counts.get(label, 0) < minimum}
    if not rare and len(allowed) > 1:
        return Check(name, "critical", f"every label has {minimum} rows or more")
    if not rare:
        said = f"a classifier needs two labels; here {'is' if len(allowed) == 1 else 'are'} {len(allowed)}"
        return Check(name, "critical", "", said, "check that ingest.columns.label names the right column", "label")
    named = _listed(
        f"{shown(label)!r} ({count}{_meant(label, [other for other in allowed if counts.get(other, 0) > count])})"
        for label, count in rare.items()
    )
    return Check(
        name,
        "critical",
        "",
        f"labels with fewer than {minimum} rows (validate.min_rows_per_label): {named}",
        "bring more rows of these labels, merge them into others, or correct their spelling",
        "label",
        _ids(rows, rows["label"].isin(list(rare))),
    )


def uneven_labels(rows: pd.DataFrame) -> Check:
    name = "label balance"
    counts = counted(rows["label"])
    if len(counts) < 2 or counts.iloc[0] < UNEVEN_RATIO * counts.iloc[-1]:
        return Check(name, "info", f"no label has {UNEVEN_RATIO} times the rows of another")
    most, least = counts.index[0], counts.index[-1]
    return Check(
        name,
        "info",
        "",
        f"{most!r} has {counts.iloc[0]} rows, {least!r} has {counts.iloc[-1]}",
        "read macro_f1 beside accuracy; rows of rare labels help most",
        "label",
        _ids(rows, rows["label"] == least),
    )


def long_texts(rows: pd.DataFrame, tokens: pd.Series[int], maximum: int) -> Check:
    """Args: tokens: tokens of each row of ``rows``, with its index."""
    name = "text longer than the model reads"
    long = tokens > maximum
    if not long.any():
        longest = int(tokens.max()) if len(tokens) else 0
        return Check(name, "info", f"the longest text has {longest} tokens of {maximum} (train.max_length)")
    return Check(
        name,
        "info",
        "",
        f"{_rows(long)} more than {maximum} tokens (train.max_length), up to {int(tokens.max())}; the rest is cut off",
        "raise train.max_length if what matters stands at the end",
        "text",
        _ids(rows, long),
    )


def any_rows(rows: pd.DataFrame) -> Check:
    name = "rows"
    if len(rows):
        return Check(name, "critical", f"{len(rows)} rows to work with")
    return Check(name, "critical", "", "no row is left to work with", "see the other findings")


def _rows(mask: pd.Series[bool]) -> str:
    count = int(mask.sum())
    return f"{count} row has" if count == 1 else f"{count} rows have"


def _a(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def _ids(rows: pd.DataFrame, mask: pd.Series[bool]) -> tuple[str, ...]:
    return tuple(rows.loc[mask, "row_id"])


def _meant(label: str, known: Sequence[str]) -> str:
    near = nearest(label, known)
    return f", did you mean {near!r}?" if near else ""


def _as_list(labels: Sequence[str]) -> str:
    """As params.yaml wants it, where that is no page."""
    more = f", and {len(labels) - SHOWN_LABELS} more" if len(labels) > SHOWN_LABELS else ""
    return f"[{json.dumps(list(labels[:SHOWN_LABELS]), ensure_ascii=False)[1:-1]}{more}]"


def _listed(words: Iterable[Any]) -> str:
    listed = [str(word) for word in words]
    more = f" and {len(listed) - SHOWN_LABELS} more" if len(listed) > SHOWN_LABELS else ""
    return ", ".join(listed[:SHOWN_LABELS]) + more
