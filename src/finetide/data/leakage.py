"""The postcondition of split: what stands on two sides, and whose doing it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from finetide.contracts.quality import Finding, LeakageVerdict, RowRef, Severity
from finetide.contracts.rows import ROLES, SPLITS, Split
from finetide.data.split import CONTENTS, Texts
from finetide.data.table import strings
from finetide.data.text import shown

SHOWN_ROWS = 20
SHOWN_LABELS = 10


def check(
    rows: pd.DataFrame,
    given: Sequence[str | None] | pd.Series[Any],
    texts: Texts,
    words: tuple[str, str, str] = CONTENTS.words,
    shows: str = CONTENTS.shows,
) -> LeakageVerdict:
    """Look for the same content on two sides of ``rows``.

    A leak of our own making is critical. What the user's split or groups bring about is a warning: the rows stay where
    the user put them. So is a text near to two older ones on different sides, as neither of these may move.

    Args:
        rows: the split rows; given: what the user's split column said; texts: what is the same among the rows.
        words: one content, several, and what near ones do; shows: the column that a person reads.
    """
    table = rows.assign(
        said=rows[shows], side=rows["split"], text_code=texts.of_row, chosen=pd.Series(given, rows.index).notna()
    ).reset_index(drop=True)
    findings = [
        *_same_texts(table, words),
        *_same_groups(table),
        *_near_texts(table, texts, words),
        *_empty_sides(table),
        *_bare_labels(table),
    ]
    critical = [finding.check for finding in findings if finding.severity == "critical"]
    reason = "; ".join(f"{one.check}: {one.message}" for one in findings) or "Nothing stands on two sides."
    return LeakageVerdict(
        verdict="fail" if critical else "pass", reason=reason, counts=_counts(table), findings=tuple(findings)
    )


def _same_texts(table: pd.DataFrame, words: tuple[str, str, str]) -> list[Finding]:
    one, several, _ = words
    leaking = table[_on_two_sides(table, "text_code")]
    chosen = leaking.groupby("text_code")["chosen"].transform("any").astype(bool)
    grouped = leaking.groupby("text_code")["group"].transform("count") > 0
    parts: list[tuple[pd.Series[bool], Severity, str, str]] = [
        (chosen, "warning", "by the given split", "delete the copies; scores on these test rows flatter the model"),
        (~chosen & grouped, "warning", "because their groups are", f"see that rows of one {one} have one group"),
        (~chosen & ~grouped, "critical", "by our own split", "this is a fault of Finetide: please report it"),
    ]
    return [
        _finding(
            f"same {one} on two sides",
            severity,
            f"{leaking.loc[mask, 'text_code'].nunique()} {several} are on more than one side {why}",
            fix,
            leaking[mask].sort_values("text_code", kind="stable"),
        )
        for mask, severity, why, fix in parts
        if mask.any()
    ]


def _same_groups(table: pd.DataFrame) -> list[Finding]:
    leaking = table[_on_two_sides(table, "group")]
    chosen = leaking.groupby("group")["chosen"].transform("any").astype(bool)
    parts: list[tuple[pd.Series[bool], Severity, str, str]] = [
        (chosen, "warning", "by the given split", "give all rows of a group one split, or drop the group column"),
        (~chosen, "critical", "by our own split", "this is a fault of Finetide: please report it"),
    ]
    return [
        _finding(
            "same group on two sides",
            severity,
            f"{leaking.loc[mask, 'group'].nunique()} groups are on more than one side {why}",
            fix,
            leaking[mask].sort_values("group", key=strings, kind="stable"),
        )
        for mask, severity, why, fix in parts
        if mask.any()
    ]


def _near_texts(table: pd.DataFrame, texts: Texts, words: tuple[str, str, str]) -> list[Finding]:
    """Pairs of near-duplicate texts, each text on one side, not on the same one."""
    _, several, near = words
    if not len(texts.near):
        return []
    table = table[table["text_code"].isin(np.concatenate([texts.near.older, texts.near.newer]))]
    first = table.drop_duplicates("text_code")
    row_of = dict(zip(first["text_code"].tolist(), first.index.tolist(), strict=True))
    file_of = dict(zip(first["text_code"].tolist(), first["file"].tolist(), strict=True))
    sides = table.groupby("text_code")["side"].agg(frozenset)
    apart = [
        (int(older), int(newer))
        for older, newer in zip(texts.near.older, texts.near.newer, strict=True)
        if len(sides[older] | sides[newer]) > 1 and len(sides[older]) == len(sides[newer]) == 1
    ]
    free = (~table["chosen"] & table["group"].isna()).groupby(table["text_code"]).all()
    own = [(older, newer) for older, newer in apart if free[older] and free[newer] and file_of[older] == file_of[newer]]
    rest = sorted(set(apart) - set(own))
    parts: list[tuple[list[tuple[int, int]], Severity, str]] = [
        (rest, "warning", "read them: if they say the same, delete the newer ones"),
        (own, "critical", "this is a fault of Finetide: please report it"),
    ]
    return [
        _finding(
            f"near-duplicate {several} on two sides",
            severity,
            f"{len(pairs)} pairs of {several} {near}",
            fix,
            table.loc[[row_of[text] for pair in pairs for text in pair]],
        )
        for pairs, severity, fix in parts
        if pairs
    ]


def _empty_sides(table: pd.DataFrame) -> list[Finding]:
    """Without labelled rows on each side nothing can be trained, chosen or scored."""
    have = set(table.loc[table["label"].notna(), "side"].unique())
    empty = [side for side in SPLITS if side not in have]
    if not empty:
        return []
    message = f"no labelled row is on: {', '.join(empty)}"
    return [_finding("empty side", "critical", message, "bring more labelled rows", table.iloc[:0])]


def _bare_labels(table: pd.DataFrame) -> list[Finding]:
    labelled = table.loc[table["label"].notna(), ["label", "side"]].drop_duplicates()
    counts = labelled["side"].groupby(strings(labelled["label"])).agg(frozenset)
    bare = {str(label): [side for side in SPLITS if side not in sides] for label, sides in counts.items()}
    bare = {label: sides for label, sides in bare.items() if sides}
    never = {label: sides for label, sides in bare.items() if "train" in sides}
    rest = {label: sides for label, sides in bare.items() if label not in never}
    return [
        *_bare(table, never, "critical", "label without a training row", "no model can learn these labels"),
        *_bare(table, rest, "warning", "label without a side", "labels that are not on every side"),
    ]


def _bare(
    table: pd.DataFrame, bare: dict[str, list[Split]], severity: Severity, check: str, said: str
) -> list[Finding]:
    if not bare:
        return []
    named = [f"{shown(label)} (no {', no '.join(sides)})" for label, sides in list(bare.items())[:SHOWN_LABELS]]
    more = f" and {len(bare) - SHOWN_LABELS} more" if len(bare) > SHOWN_LABELS else ""
    message = f"{said}: {', '.join(named)}{more}"
    rows = table[table["label"].isin(list(bare))]
    return [_finding(check, severity, message, "bring more rows of these labels", rows)]


def _on_two_sides(table: pd.DataFrame, column: str) -> pd.Series[bool]:
    """Rows whose value of ``column`` is on another side too; a missing value is on none."""
    values, sides = pd.factorize(table[column])[0], pd.factorize(table["side"])[0]
    known = values >= 0
    # The first side of each value; a row that is on another one betrays it.
    first = np.full(len(table) + 1, -1, np.int8)
    first[values[known][::-1]] = sides[known][::-1]
    several = np.zeros(len(table) + 1, bool)
    several[values[known & (sides != first[values])]] = True
    return pd.Series(known & several[values], table.index)


def _counts(table: pd.DataFrame) -> dict[str, dict[str, int]]:
    return {
        role: {side: int((of & (table["side"] == side)).sum()) for side in SPLITS}
        for role in ROLES
        if (of := table["role"] == role).any()
    }


def _finding(check: str, severity: Severity, message: str, fix: str, rows: pd.DataFrame) -> Finding:
    refs = tuple(
        RowRef(
            row_id=str(row["row_id"]),
            file=str(row["file"]),
            line=int(row["line"]),
            column="split",
            value=shown(f"{row['side']}: {row['said']}"),
        )
        for row in rows.head(SHOWN_ROWS).to_dict("records")
    )
    return Finding(check=check, severity=severity, message=message, fix=fix, count=len(rows), rows=refs)
