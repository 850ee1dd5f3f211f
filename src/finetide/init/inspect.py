"""Looks at the user's files before anything is written, so that a wrong column costs seconds and leaves nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from finetide.config.images import ImageIngestParams
from finetide.config.ingest import ColumnParams
from finetide.config.questions import QuestionIngestParams
from finetide.contracts.rows import Role
from finetide.data.images.arrays import is_labels, labels_name
from finetide.data.images.reading import read, split_of
from finetide.data.questions import answers
from finetide.data.questions import reading as questions
from finetide.data.questions.schema import ANSWERABLE, UNANSWERABLE
from finetide.data.questions.squad import Given
from finetide.data.readers import as_list, as_strings, load, rows_of, without_empty
from finetide.data.text import shown
from finetide.errors import DataError, InputError

# A tune phase starts with about this many characters of text seen: some minutes on two cores.
TUNE_CHARACTERS = 1_600_000
# As much, in images of a small base.
TUNE_IMAGES = 20_000
CHARACTERS_KEPT = 512  # of a text, about 128 tokens
# More labels than this share of the rows are none; of fewer rows nothing is concluded.
MOST_LABELS, FEW_ROWS = 0.5, 20
QUESTION_CHARACTERS = 1536  # of a question with its context, about 384 tokens


@dataclass(frozen=True)
class Inspection:
    """Rows and labels seen in all files together; ``epochs`` is what a tune phase of this size starts with.
    ``splits``: value of the split column as the files spell it, or None → the side it means, and its rows.
    ``sentence``: what was seen, where rows and labels do not say it. ``arriving``: labels of the incoming rows."""

    rows: int
    labels: tuple[str, ...]
    epochs: int
    why_epochs: str
    splits: dict[str | None, tuple[str | None, int]]
    sentence: str = ""
    arriving: tuple[str, ...] = ()


def inspect(reference: Sequence[Path], incoming: Sequence[Path], columns: ColumnParams, encoding: str) -> Inspection:
    """Read every file as ingest will.

    Raises:
        InputError: two files of one name. DataError: whatever ingest would refuse.
    """
    _check_names([*reference, *incoming])
    rows = trained = characters = 0
    splits: dict[str | None, tuple[str | None, int]] = {}
    labels: dict[Role, Counter[str]] = {"reference": Counter(), "incoming": Counter()}
    roles: list[tuple[Role, Sequence[Path]]] = [("reference", reference), ("incoming", incoming)]
    for role, paths in roles:
        for path in paths:
            records = load(path, name=path.name, columns=columns, encoding=encoding)
            table = rows_of(records, name=path.name, columns=columns, role=role)
            given = as_list(without_empty(as_strings(records, path.name, columns.split)))
            sides = [side if isinstance(side, str) else None for side in table["split"]]
            for (word, side), count in Counter(zip(given, sides, strict=True)).items():
                splits[word] = (side, count + splits.get(word, (side, 0))[1])
            rows += len(table)
            learned = table[~table["split"].isin(["validation", "test"])]
            trained += len(learned)
            characters += int(learned["text"].str.len().clip(upper=CHARACTERS_KEPT).sum())
            labels[role].update(label for label in table["label"] if isinstance(label, str))
    known = labels["reference"]
    _check_labels(known, reference, columns.label)
    epochs = max(1, min(8, round(TUNE_CHARACTERS / max(characters, 1))))
    held = f", validation and test rows ({rows - trained}) left out" if trained < rows else ""
    why = f"{trained} rows of {characters // max(trained, 1)} characters{held}"
    return Inspection(rows, tuple(sorted(known)), epochs, why, splits, arriving=tuple(sorted(labels["incoming"])))


def inspect_images(reference: Sequence[Path], incoming: Sequence[Path], params: ImageIngestParams) -> Inspection:
    """Read every file as ingest will, without decoding the images; see `inspect`."""
    _check_names([*reference, *incoming])
    labels: Counter[str] = Counter()
    arriving: set[str] = set()
    splits: Counter[str | None] = Counter()
    given = {path.name: path for path in [*reference, *incoming]}
    for path in given.values():
        if is_labels(path.name):
            continue
        for found in read(path, path.name, params, given.get(labels_name(path.name))):
            splits[split_of(found, path.name)] += 1
            if found.label is not None:
                if path in reference:
                    labels[found.label] += 1
                else:
                    arriving.add(found.label)
    _check_labels(labels, reference, params.columns.label)
    rows = sum(splits.values())
    trained = splits["train"] + splits[None]
    epochs = max(1, min(8, round(TUNE_IMAGES / max(trained, 1))))
    sides: dict[str | None, tuple[str | None, int]] = {side: (side, count) for side, count in splits.items()}
    why = f"{trained} images to train on"
    return Inspection(rows, tuple(sorted(labels)), epochs, why, sides, arriving=tuple(sorted(arriving)))


def inspect_questions(reference: Sequence[Path], incoming: Sequence[Path], params: QuestionIngestParams) -> Inspection:
    """Read every file as ingest will; see `inspect`. Faults of single rows are validate's to name."""
    _check_names([*reference, *incoming])
    rows = characters = trained = faults = 0
    first = None
    labels: Counter[str] = Counter()
    splits: Counter[str | None] = Counter()
    roles: list[tuple[Role, Sequence[Path]]] = [("reference", reference), ("incoming", incoming)]
    for role, paths in roles:
        for path in paths:
            for given in questions.read(path, path.name, params, role):
                found = answers.read(given.answers, given.impossible, given.question, given.context)
                rows += 1
                splits[given.split] += 1
                if found.label is not None:
                    labels[found.label] += 1
                if found.fault is not None:
                    faults += 1
                    first = first or _FirstFault.of(path, given, found.fault)
                if given.split not in ("validation", "test"):
                    trained += 1
                    characters += min(len(given.question) + len(given.context), QUESTION_CHARACTERS)
    silent = rows - labels.total() - faults
    if not labels[ANSWERABLE]:
        raise _without_answers(reference, params.columns.answers, rows, labels[UNANSWERABLE], silent, first)
    epochs = max(2, min(8, round(TUNE_CHARACTERS / max(characters, 1))))
    said = f"read {rows} questions: {labels[ANSWERABLE]} with an answer, {labels[UNANSWERABLE]} without one"
    said += f", {silent} of which nobody has said" if silent else ""
    said += f", {faults} with a fault (validate names them), the first at {first.told}" if first else ""
    sides: dict[str | None, tuple[str | None, int]] = {side: (side, count) for side, count in splits.items()}
    return Inspection(rows, tuple(sorted(labels)), epochs, f"{trained} questions to train on", sides, said)


@dataclass(frozen=True)
class _FirstFault:
    """``where``: file, place in it, and the question's own id."""

    where: str
    fault: answers.Fault

    @staticmethod
    def of(path: Path, given: Given, fault: answers.Fault) -> _FirstFault:
        own = "" if given.id is None else f" (id {shown(given.id)!r})"
        return _FirstFault(f"{path}: {given.place}{own}", fault)

    @property
    def told(self) -> str:
        return f"{self.where}: {self.fault.kind}: {self.fault.detail}; fix: {self.fault.fix}"


def _without_answers(
    reference: Sequence[Path], column: str, rows: int, impossible: int, silent: int, first: _FirstFault | None
) -> DataError:
    """Nothing to learn from: the first fault tells most, else what the questions say."""
    what = "no question has an answer that stands in its context"
    hint = f"check --answers ({column!r} now), and that answer_start counts characters from 0"
    faults = rows - impossible - silent
    if first is None:
        said = f"{what}: {impossible} of {rows} have none, and of {silent} nobody has said"
        return DataError(said, where=", ".join(str(path) for path in reference), fix=hint)
    said = f"{what}, {faults} of {rows} have a fault; this first one: {first.fault.kind}: {first.fault.detail}"
    return DataError(said, where=first.where, fix=f"here {first.fault.fix}; for all of them {hint}")


def _check_names(paths: Sequence[Path]) -> None:
    names: dict[str, Path] = {}
    for path in paths:
        if path.is_dir():
            raise DataError("is a folder", where=str(path), fix="give --reference and --incoming files")
        if not path.is_file():
            raise DataError("no such file", where=str(path), fix="give --reference and --incoming existing files")
        if path.name in names and names[path.name].resolve() == path.resolve():
            raise InputError("is given twice", where=str(path), fix="give it once, as --reference or as --incoming")
        if path.name in names:
            raise InputError(
                f"two files are named {path.name!r}", where=str(path), fix="rename one: all go to one folder"
            )
        names[path.name] = path


def _check_labels(labels: Counter[str], reference: Sequence[Path], column: str) -> None:
    if len(labels) < 2:
        have = "one label" if labels else "no label"
        raise DataError(
            f"the reference rows have {have} in column {column!r}, and a model needs at least two to tell apart",
            where=", ".join(str(path) for path in reference),
            found=next(iter(labels), None),
            fix="check --label: it names the column with the label",
        )
    told = labels.total()
    if told >= FEW_ROWS and len(labels) > told * MOST_LABELS:
        raise DataError(
            f"{len(labels)} different labels on {told} reference rows in column {column!r}: that is an id, a number or "
            "a text, and no label, of which a model needs several rows each",
            where=", ".join(str(path) for path in reference),
            found=", ".join(label if len(label) <= 40 else f"{label[:39]}…" for label in sorted(labels)[:3]),
            fix="check --label: it names the column with the label",
        )
