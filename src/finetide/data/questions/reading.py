"""The files of a window → one table of questions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from finetide.config.questions import QuestionColumnParams, QuestionIngestParams
from finetide.contracts.rows import ROLES, Role
from finetide.contracts.window import Window, WindowFile
from finetide.data.ingest import CORRECT, Examined, Ingested, checked_path
from finetide.data.payload import FIRST_LINE
from finetide.data.problems import Problems
from finetide.data.progress import bar
from finetide.data.questions import answers, squad
from finetide.data.questions.schema import SCHEMA
from finetide.data.questions.squad import Given
from finetide.data.readers import ROW_ID, as_list, as_strings, refuse_endless, split_words, without_empty
from finetide.data.records import PARQUET_SUFFIXES, TEXT_SUFFIXES, Records, read_records
from finetide.data.table import frame
from finetide.data.text import nearest, normalise, shown
from finetide.errors import DataError
from finetide.files import sha256_bytes

IMPOSSIBLE = "is_impossible"


def ingest(window: Window, raw: Path, params: QuestionIngestParams) -> Ingested:
    """Read every reference and incoming file of ``window`` below ``raw``.

    Raises:
        DataError: a file is missing or cannot be read; late answers have no row.
        IntegrityError: a file is not the one that the window pinned.
    """
    columns: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
    late: dict[str, Records] = {}
    counts: dict[str, int] = {}
    for file in window.files:
        role = _role(file)
        if role is None:
            continue
        path = checked_path(file, raw)
        records = None if is_squad(file.path) else _records(path, file.path, params)
        if records is not None and _brings_answers(records, params.columns):
            late[file.path], counts[file.path] = records, len(records.lines)
            continue
        before = len(columns["line"])
        found = read(path, file.path, params, role, records)
        with bar(f"reading {file.path}", None, "question") as progress:
            for given in found:
                _add(columns, given, file.path, role)
                progress.update(1)
        counts[file.path] = len(columns["line"]) - before
    excluded = {file.path for file in window.files if _role(file) is None}
    for name, records in late.items():
        _join(columns, records, name, params.columns.answers, excluded)
    return Ingested(frame(columns, SCHEMA), counts)


def read(
    path: Path, name: str, params: QuestionIngestParams, role: Role, records: Records | None = None
) -> Iterator[Given]:
    """The questions of one file. Args: records: of a table, where they were read already.

    Raises: DataError: it cannot be read, or lacks a column.
    """
    if is_squad(name):
        return squad.read_squad(path, name, params.encoding, params.columns.group)
    return _of_table(records or _records(path, name, params), name, params.columns, role)


def is_squad(name: str) -> bool:
    return name.lower().endswith(squad.SUFFIXES)


def examine(path: Path, name: str, params: QuestionIngestParams) -> Examined:
    """Read a file that is about to be taken in. Raises: DataError as `ingest` would."""
    records = None if is_squad(name) else _records(path, name, params)
    if records is not None and _brings_answers(records, params.columns):
        return Examined(late=True)
    labelled = rows = 0
    faults: Counter[str] = Counter()
    for given in read(path, name, params, "incoming", records):
        found = answers.read(given.answers, given.impossible, given.question, given.context)
        rows += 1
        labelled += found.label is not None
        if found.fault is not None:
            faults[found.fault.kind] += 1
    told = [f"{path.name}: {count} questions: {kind}; validate says which" for kind, count in sorted(faults.items())]
    if not labelled and not faults:
        told = [f"{path.name}: none of its {rows} questions has an answer"]
    return Examined(tuple(told))


def _records(path: Path, name: str, params: QuestionIngestParams) -> Records:
    columns = params.columns
    named = (
        ROW_ID, columns.id, columns.question, columns.context, columns.answers, IMPOSSIBLE, columns.split,
        columns.group,
    )  # fmt: skip
    wanted = list(dict.fromkeys(one for one in named if one is not None))
    return read_records(path, name=name, wanted=wanted, encoding=params.encoding)


def _brings_answers(records: Records, columns: QuestionColumnParams) -> bool:
    """Is this a file of answers to questions that came without?"""
    return {ROW_ID, columns.answers} <= set(records.names) and columns.context not in records.names


def _of_table(records: Records, name: str, columns: QuestionColumnParams, role: Role) -> Iterator[Given]:
    _require(records, name, columns, role)

    def strings(column: str | None) -> list[str | None]:
        return as_list(without_empty(as_strings(records, name, column)))

    contexts = as_strings(records, name, columns.context)
    refuse_endless(contexts, records.lines, name)
    splits = split_words(strings(columns.split), records.lines, name, columns.split)
    parts = (
        records.lines, strings(columns.id), as_list(as_strings(records, name, columns.question)), as_list(contexts),
        _cells(records, columns.answers), map(_truth, _cells(records, IMPOSSIBLE)), splits, strings(columns.group),
    )  # fmt: skip
    for line, own, question, context, said, impossible, split, group in zip(*parts, strict=True):
        yield Given(line, f"line {line}", own, question or "", context or "", said, impossible, split, group)


def _cells(records: Records, column: str) -> Sequence[Any]:
    return as_list(records.values[column]) if column in records.values else [None] * len(records.lines)


def _truth(value: Any) -> bool | None:
    """JSON's true, or the word of a CSV."""
    if isinstance(value, str):
        return {"true": True, "1": True, "false": False, "0": False}.get(value.strip().lower())
    return None if value is None else bool(value)


def _require(records: Records, name: str, columns: QuestionColumnParams, role: Role) -> None:
    """Question and context always; the others in reference files, and where a name is nearly there."""
    wanted = {
        "question": columns.question, "context": columns.context, "answers": columns.answers, "id": columns.id,
        "split": columns.split, "group": columns.group,
    }  # fmt: skip
    others = [found for found in records.names if found not in wanted.values()]
    missing = []
    for key, column in wanted.items():
        if column is None or column in records.names:
            continue
        near = nearest(column, others)
        optional = key not in ("question", "context") and (role == "incoming" or key == "id")
        if optional and near is None:
            continue
        missing.append(f"{column!r} ({key})" + (f", did you mean {near!r}?" if near else ""))
    if missing:
        raise DataError(
            f"has no column {'; '.join(missing)}", where=name, found=", ".join(records.names),
            fix="rename it in the file; or name the right one in params.yaml, ingest.columns (init: --question, "
            "--context, --answers, --split-col, --group-col)",
        )  # fmt: skip


def _add(columns: Mapping[str, list[Any]], given: Given, file: str, role: Role) -> None:
    found = answers.read(given.answers, given.impossible, given.question, given.context)
    entry = {
        "row_id": f"{file}:{given.line}", "role": role, "file": file, "line": given.line, "label": found.label,
        "split": given.split, "group": given.group, "question": given.question, "context": given.context,
        "id": given.id, "place": given.place, "digest": _digest(given.question, given.context),
        "name": " ".join(given.question.split()),
    }  # fmt: skip
    for name, value in {**entry, **_answered(found)}.items():
        columns[name].append(value)


def _answered(found: answers.Answers) -> dict[str, str | None]:
    fault = found.fault or answers.Fault("", "", "")
    return {
        "answers": found.said, "label": found.label, "fault": fault.kind or None, "detail": fault.detail or None,
        "fix": fault.fix or None,
    }  # fmt: skip


def _digest(question: str, context: str) -> str:
    return sha256_bytes(f"{normalise(question)}\x1f{normalise(context)}".encode("utf-8", "surrogatepass"))


def _join(columns: dict[str, list[Any]], records: Records, name: str, column: str, excluded: set[str]) -> None:
    """Put late answers into the rows that they are about. Those of rows of an excluded file are left.

    Raises: DataError: by line, a row id that no row has, no answers, or other answers than the row has.
    """
    problems = Problems(name, "has answers that cannot be joined", fix=CORRECT)
    place = {row_id: at for at, row_id in enumerate(columns["row_id"])}
    ids = as_list(without_empty(as_strings(records, name, ROW_ID)))
    for line, row_id, said in zip(records.lines, ids, _cells(records, column), strict=True):
        if row_id is not None and row_id.rpartition(":")[0] in excluded:
            continue
        at = None if row_id is None else place.get(row_id)
        if at is None:
            problems.add(line, f"no row has the id {shown(row_id)}")
            continue
        found = answers.read(said, None, columns["question"][at], columns["context"][at])
        have = columns["answers"][at]
        if found.said is None:
            problems.add(line, f"no answers for {row_id}")
        elif have is not None and columns["fault"][at] is None and have != found.said:
            problems.add(line, f"{row_id} has the answers {shown(have)} already, this says {shown(found.said)}")
        else:
            for key, value in _answered(found).items():
                columns[key][at] = value
    problems.raise_if_any()


def _role(file: WindowFile) -> Role | None:
    return next((role for role in ROLES if role == file.role), None)


class _Questions:
    """See `finetide.data.kinds.Source`. Texts stand in the table itself; the store has its first line only."""

    schema = SCHEMA
    params = QuestionIngestParams
    suffixes = (*TEXT_SUFFIXES, *PARQUET_SUFFIXES, *squad.SUFFIXES)

    def ingest(self, window: Window, raw: Path, params: QuestionIngestParams, store: Path | None) -> Ingested:
        if store is not None:
            store.write_bytes(FIRST_LINE)
        return ingest(window, raw, params)

    def examine(self, path: Path, name: str, params: QuestionIngestParams) -> Examined:
        return examine(path, name, params)

    def pack(self, given: Path, folder: Path) -> Path:
        del folder
        return given


SOURCE = _Questions()
