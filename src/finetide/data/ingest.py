"""The files of a window → one table of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from pandas.api.types import union_categoricals

from finetide.config.ingest import IngestParams
from finetide.contracts.quality import IngestReport
from finetide.contracts.rows import ROLES, Role
from finetide.contracts.window import Window, WindowFile
from finetide.data.payload import FIRST_LINE
from finetide.data.problems import Problems
from finetide.data.readers import (
    ROW_ID,
    as_list,
    as_strings,
    brings_labels,
    is_request,
    load,
    rows_of,
    without_empty,
)
from finetide.data.records import PARQUET_SUFFIXES, TEXT_SUFFIXES, Records
from finetide.data.table import CATEGORIES, COLUMNS, SCHEMA, frame
from finetide.data.text import nearest, shown
from finetide.errors import DataError, IntegrityError
from finetide.files import sha256_file


@dataclass(frozen=True)
class Ingested:
    """``rows``: all rows in the order of the window, then of the file; ``files``: records by file, excluded ones
    left out, files of late labels included."""

    rows: pd.DataFrame
    files: dict[str, int]

    def report(self) -> IngestReport:
        roles = self.rows["role"].value_counts()
        return IngestReport(
            rows=len(self.rows),
            reference=int(roles.get("reference", 0)),
            incoming=int(roles.get("incoming", 0)),
            labelled=int(self.rows["label"].notna().sum()),
            files=self.files,
        )


@dataclass(frozen=True)
class Examined:
    """Of a file that is about to be taken in. ``told``: what will become of its rows where that is no matter of course,
    one line each; ``late``: whether it brings labels for rows of other files, which only `ingest` can join."""

    told: tuple[str, ...] = ()
    late: bool = False


# Before a file is in the window its lines can be corrected; from then on its bytes stand.
CORRECT = (
    "correct the lines; a row id is FILE:LINE. If the window has the file already: finetide exclude MODEL FILE, and "
    "bring the corrected lines under another name"
)


def ingest(window: Window, raw: Path, params: IngestParams) -> Ingested:
    """Read every reference and incoming file of ``window`` below ``raw``.

    Raises:
        DataError: a file is missing, cannot be read, or is listed twice; a late label has no row.
        IntegrityError: a file is not the one that the window pinned.
    """
    _refuse_doubles(window.files)
    frames: list[pd.DataFrame] = []
    late: dict[str, Records] = {}
    counts: dict[str, int] = {}
    for file in window.files:
        role = _role(file)
        if role is None:
            continue
        path = checked_path(file, raw)
        records = load(path, name=file.path, columns=params.columns, encoding=params.encoding)
        counts[file.path] = len(records.lines)
        if brings_labels(records, params.columns):
            late[file.path] = records
        else:
            frames.append(rows_of(records, name=file.path, columns=params.columns, role=role))
    rows = _together(frames)
    excluded = {file.path for file in window.files if _role(file) is None}
    for name, records in late.items():
        if is_request(records):
            columns = params.columns
            check_request(rows, records, name=name, label=columns.label, text=columns.text, excluded=excluded)
        rows = join_labels(rows, records, name=name, column=params.columns.label, excluded=excluded)
    return Ingested(rows, counts)


def examine(path: Path, name: str, params: IngestParams) -> Examined:
    """Read a file that is about to be taken in, for its faults: raw files never change once there.

    Raises: DataError as `ingest` would.
    """
    records = load(path, name=name, columns=params.columns, encoding=params.encoding)
    if brings_labels(records, params.columns):
        return Examined(late=True)
    rows, column = rows_of(records, name=name, columns=params.columns, role="incoming"), params.columns.split
    if column is None or rows.empty:
        return Examined()
    given = set(rows["split"].dropna())
    if not given:
        lack = "has no" if column not in records.names else "gives no value in"
        return Examined((f"{path.name}: {lack} column {column!r}: its {len(rows)} rows are split by their content",))
    if given == {"train"} and rows["split"].notna().all():
        said = f"all {len(rows)} rows are given as train, and stay there if other files give validation and test rows"
        return Examined((f"{path.name}: {said}: how the model does on them would not be measured",))
    return Examined()


def checked_path(file: WindowFile, raw: Path) -> Path:
    """Where ``file`` lies, once its bytes are those that the window pinned."""
    path = raw / file.path
    if not path.is_file():
        raise DataError(
            "is missing, but the window names it",
            where=file.path,
            fix="`dvc checkout` brings it back; after adding or moving files, `finetide run`",
        )
    found = sha256_file(path)
    if found != file.sha256:
        raise IntegrityError(
            f"is not the file that the window pinned (sha256 {file.sha256})",
            where=file.path,
            found=f"sha256 {found}",
            fix="delete it, and `finetide run` brings it back (DVC); if the change is meant, give the file a new name",
        )
    return path


def join_labels(
    rows: pd.DataFrame, records: Records, *, name: str, column: str, excluded: set[str] | frozenset[str] = frozenset()
) -> pd.DataFrame:
    """``rows`` with the labels that ``records`` brings for them. Labels of rows of an excluded file are left.

    Raises:
        DataError: by line, a row id that no row has, a label that is missing, or another label than the row has.
    """
    problems = Problems(name, "has labels that cannot be joined", fix=CORRECT)
    asked = is_request(records)
    ids = as_list(without_empty(as_strings(records, name, ROW_ID)))
    labels = as_list(without_empty(as_strings(records, name, column)))
    have: dict[str, str | None] = dict(
        zip(rows["row_id"], rows["label"].astype(object).where(rows["label"].notna(), None), strict=True)
    )
    for line, row_id, label in zip(records.lines, ids, labels, strict=True):
        if row_id is not None and row_id.rpartition(":")[0] in excluded:
            continue
        if row_id is None or row_id not in have:
            problems.add(line, f"no row has the id {shown(row_id)}")
        elif label is None and asked:
            continue
        elif label is None:
            problems.add(line, f"no label for {row_id}")
        elif have[row_id] not in (None, label):
            problems.add(line, f"{row_id} has the label {shown(have[row_id])} already, this says {shown(label)}")
        else:
            have[row_id] = label
    problems.raise_if_any()
    joined = pd.Series([have[row_id] for row_id in rows["row_id"]], index=rows.index, dtype="str")
    return rows.assign(label=joined.astype("category"))


def check_request(
    rows: pd.DataFrame,
    records: Records,
    *,
    name: str,
    label: str,
    text: str | None,
    excluded: set[str] | frozenset[str],
) -> None:
    """A filled-in request must be about the texts that were sent out, with labels that other rows have.

    Args: label, text: names of columns; ``text`` is None where rows are no texts.

    Raises:
        DataError: by line, a text that is another than the row's, or a label that no row has.
    """
    problems = Problems(
        name,
        "is a filled-in label request that does not fit the rows",
        fix=f"{CORRECT}. A label that is new comes in a table of row_id and label alone",
    )
    ids = as_list(without_empty(as_strings(records, name, ROW_ID)))
    labels = as_list(without_empty(as_strings(records, name, label)))
    texts = as_list(as_strings(records, name, text)) if text in records.names else [None] * len(ids)
    known = set(rows["label"].dropna())
    sent: dict[str, str] = dict(zip(rows["row_id"], rows["text"], strict=True)) if "text" in rows else {}
    for line, row_id, given, said in zip(records.lines, ids, labels, texts, strict=True):
        if row_id is None or given is None or row_id.rpartition(":")[0] in excluded:
            continue
        if said is not None and row_id in sent and said.split() != sent[row_id].split():
            problems.add(line, f"the text of {row_id} is not the one that was sent out: {shown(said[:60])}")
        elif known and given not in known:
            near = nearest(given, sorted(known))
            problems.add(line, f"no row has the label {shown(given)}" + (f"; near: {shown(near)}" if near else ""))
    problems.raise_if_any()


def _together(frames: list[pd.DataFrame]) -> pd.DataFrame:
    if len(frames) == 1:
        return frames[0]
    if not frames:
        return frame({name: [] for name in COLUMNS})
    united = {name: union_categoricals([one[name] for one in frames]) for name in CATEGORIES}
    return pd.concat([one.drop(columns=list(CATEGORIES)) for one in frames], ignore_index=True).assign(**united)[
        list(COLUMNS)
    ]


def _role(file: WindowFile) -> Role | None:
    return next((role for role in ROLES if role == file.role), None)


def _refuse_doubles(files: Sequence[WindowFile]) -> None:
    paths = [file.path for file in files]
    doubled = sorted({path for path in paths if paths.count(path) > 1})
    if doubled:
        raise DataError(
            "names a file twice", where="window.json", found=", ".join(doubled), fix="run `finetide advance`"
        )


class _Tables:
    """Rows of text; see `finetide.data.kinds.Source`. The texts stand in the table itself, so the store has its first
    line only: DVC has no optional outputs."""

    schema = SCHEMA
    params = IngestParams
    suffixes = (*TEXT_SUFFIXES, *PARQUET_SUFFIXES)

    def ingest(self, window: Window, raw: Path, params: IngestParams, store: Path | None) -> Ingested:
        if store is not None:
            store.write_bytes(FIRST_LINE)
        return ingest(window, raw, params)

    def examine(self, path: Path, name: str, params: IngestParams) -> Examined:
        return examine(path, name, params)

    def pack(self, given: Path, folder: Path) -> Path:
        return given


SOURCE = _Tables()
