"""A study for people: a table on the terminal, one HTML page, its chart as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from finetide.contracts.metrics import Measure
from finetide.contracts.rows import ROLES
from finetide.contracts.study import Study, StudyResult
from finetide.files import write_text
from finetide.report import charts
from finetide.report.page import environment, style
from finetide.report.words import ROLE_NAMES, count, interval, percent
from finetide.studies.chart import Point, efficiency, over_labels, standalone
from finetide.studies.collapse import spread
from finetide.studies.describe import over_runs, short_points, whole_role
from finetide.studies.methods import NAMES

Row = tuple[str, ...]
Table = tuple[Row, list[Row]]
TITLES = {
    "curve": "Label efficiency", "compare": "Where to start from", "seeds": "Seeds", "layers": "Layers and labels",
}  # fmt: skip


@dataclass(frozen=True)
class Sheet:
    """``head`` and ``rows``: one table; its first column is words, the others numbers."""

    title: str
    model: str
    sentence: str
    charts: tuple[Markup, ...]
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


def sheet(study: Study) -> Sheet:
    tables = {"curve": _curve, "compare": _compare, "seeds": _seeds, "layers": _layers}
    head, rows = tables[study.kind](study)
    return Sheet(
        TITLES[study.kind], study.model, study.sentence, _charts(study), head, tuple(rows), tuple(_notes(study))
    )  # fmt: skip


def write(study: Study, folder: Path) -> list[Path]:
    """KIND.json, KIND.svg and KIND.html below ``folder``."""
    study.write(folder / f"{study.kind}.json")
    return [folder / f"{study.kind}.json", *write_sheet(sheet(study), folder, study.kind)]


def write_sheet(shown: Sheet, folder: Path, name: str) -> list[Path]:
    """NAME.svg, its first chart, and NAME.html below ``folder``."""
    page = environment(Path(__file__).parent).get_template("page.html").render(sheet=shown, style=style())
    write_text(folder / f"{name}.svg", standalone(shown.charts[0]))
    write_text(folder / f"{name}.html", page)
    return [folder / f"{name}.{ending}" for ending in ("svg", "html")]


def as_lines(study: Study) -> list[str]:
    return lines_of(sheet(study))


def lines_of(shown: Sheet) -> list[str]:
    """The table, the notes, the sentence."""
    widths = [max(len(row[place]) for row in (shown.head, *shown.rows)) for place in range(len(shown.head))]

    def padded(row: Sequence[str]) -> str:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        return "  ".join(cells).rstrip()

    return [padded(shown.head), *map(padded, shown.rows), "", *shown.notes, "", shown.sentence]


def _curve(study: Study) -> Table:
    role = whole_role(study.test_rows)
    ordered = sorted(study.results, key=lambda one: (one.share is not None, one.share or 0.0))
    rows: list[Row] = [
        (NAMES[one.method], "" if one.share is None else f"{one.share:.3g}", count(one.rows), *_scores(one, role),
         _seconds(one))
        for one in ordered
    ]  # fmt: skip
    return ("how", "share", "labels", "accuracy", "interval", "macro-F1", "seconds"), rows


def _compare(study: Study) -> Table:
    roles = [role for role in ROLES if role in study.test_rows]
    head = ["how"]
    for role in roles:
        head += [ROLE_NAMES[role], "interval", "macro-F1", "against fine-tuned"]
    rows: list[Row] = []
    for one in study.results:
        cells = [NAMES[one.method]]
        for role in roles:
            cells += [*_scores(one, role), short_points(one.against[role]) if one.against else ""]
        rows.append((*cells, _seconds(one), _joules(one)))
    return (*head, "seconds", "energy"), rows


def _seeds(study: Study) -> Table:
    rows: list[Row] = [
        (f"seed {run.seed}", percent(run.accuracy), percent(run.macro_f1), percent(run.validation or 0.0),
         str(run.steps), f"{run.seconds:.1f}", "collapsed" if run.collapsed else "")
        for run in study.results[0].runs
    ]  # fmt: skip
    return ("run", "accuracy", "macro-F1", "validation", "steps", "seconds", ""), rows


def _layers(study: Study) -> Table:
    roles = [role for role in ROLES if role in study.test_rows]
    head = ["policy", "labels", "learn"]
    for role in roles:
        head += [ROLE_NAMES[role], "interval", "against probe"]
    rows: list[Row] = []
    for one in study.results:
        learn, gap = over_runs(one, "trainable"), over_runs(one, "gap")
        cells = [_name(one), count(one.rows), "–" if learn is None else count(round(learn))]
        for role in roles:
            accuracy = one.roles[role]["accuracy"]
            cells += [
                percent(accuracy.value),
                interval(accuracy),
                short_points(one.against[role]) if one.against else "",
            ]
        rows.append((*cells, "–" if gap is None else f"{gap * 100:.1f}", _seconds(one)))
    return (*head, "gap", "seconds"), rows


def _name(one: StudyResult) -> str:
    return one.policy or NAMES[one.method]


def _scores(one: StudyResult, role: str) -> tuple[str, str, str]:
    accuracy = one.roles[role]["accuracy"]
    return percent(accuracy.value), interval(accuracy), percent(one.roles[role]["macro_f1"].value)


def _seconds(one: StudyResult) -> str:
    return f"{sum(run.seconds for run in one.runs) / len(one.runs):.1f}"


def _joules(one: StudyResult) -> str:
    known = [run.joules for run in one.runs if run.joules is not None]
    return f"{sum(known) / len(known):.0f} J" if len(known) == len(one.runs) else "–"


def _charts(study: Study) -> tuple[Markup, ...]:
    if study.kind == "curve":
        role = whole_role(study.test_rows)
        return (efficiency(f"Accuracy by training labels, {ROLE_NAMES[role]}", study.results, role),)
    if study.kind == "seeds":
        (found,) = study.results
        return (charts.bars("Accuracy by seed", {f"seed {run.seed}": _plain(run.accuracy) for run in found.runs}),)
    if study.kind == "layers" and len({one.rows for one in study.results}) > 1:
        return _lines(study)
    roles = [role for role in ("incoming", "reference") if role in study.test_rows]
    return tuple(_bars(study, role) for role in roles)


def _bars(study: Study, role: str) -> Markup:
    """The first bar stands out: what the others are held against, or the best policy."""
    shown = [(_name(one), one.roles[role]["accuracy"]) for one in study.results]
    if study.kind == "layers":
        shown.sort(key=lambda bar: -bar[1].value)
    return charts.bars(f"Accuracy, {ROLE_NAMES[role]}", dict(shown))


def _lines(study: Study) -> tuple[Markup, Markup]:
    """A policy has the same colour in both charts."""
    role = whole_role(study.test_rows)
    accuracy: dict[str, list[Point]] = {}
    gaps: dict[str, list[Point]] = {}
    for one in study.results:
        accuracy.setdefault(_name(one), []).append((one.rows, one.roles[role]["accuracy"]))
        gap = over_runs(one, "gap")
        gaps.setdefault(_name(one), []).extend([] if gap is None else [(one.rows, _plain(gap))])
    return (
        over_labels(f"Accuracy by training labels, {ROLE_NAMES[role]}", accuracy),
        over_labels("Accuracy on training rows less that on validation, in the end", gaps),
    )


def _plain(value: float) -> Measure:
    return Measure(value=value, low=None, high=None, rows=0)


def _notes(study: Study) -> list[str]:
    tested = ", ".join(f"{count(rows)} {ROLE_NAMES[role]}" for role, rows in sorted(study.test_rows.items()))
    notes = [
        f"{count(study.train_rows)} labelled training rows, {count(study.validation_rows)} validation rows (every run "
        f"uses all of them, to choose its best weights), test rows: {tested}; {study.labels} labels.",
        f"Always the most frequent label: {percent(study.majority)}. Intervals over the test rows cover "
        f"{study.confidence * 100:g} %; seconds are of building and training one model, on average.",
    ]
    notes += [f"{NAMES[method].capitalize()}: {how}." for method, how in study.made.items()]
    notes += [f"{NAMES[method].capitalize()} is left out: {why}." for method, why in study.left_out.items()]
    notes += [f"Energy: {study.energy}."]
    if study.kind == "layers":
        notes += _notes_on_layers(study)
    for one in study.results:
        of = _name(one) + ("" if one.share is None else f", {count(one.rows)} labels")
        if len(one.runs) > 1:
            values = [run.accuracy for run in one.runs]
            ends = f"{percent(min(values))} to {percent(max(values))}"
            notes.append(f"{of}: {len(values)} seeds, {ends}, standard deviation {spread(values) * 100:.2f} points.")
        notes += [f"{of}, seed {run.seed} collapsed: {run.collapsed}." for run in one.runs if run.collapsed]
    return notes


def _notes_on_layers(study: Study) -> list[str]:
    compared = sum(one.shallower is not None for one in study.results)
    notes = [
        "Learn: how many values of the model do. Gap: by how many points accuracy on a sample of the training rows "
        "exceeds that on validation, at the last evaluation of the last tune phase. Tested are the weights that were "
        "best on validation, the probe phase's included, so a part of the overfitting is not seen in the accuracy."
    ]
    if compared:
        notes.append(
            "Each policy is held against the best on validation of those with which fewer values learn (adapters and "
            f"bitfit left out, which reach every block), {compared} times in all; by chance alone "
            f"{100 - study.confidence * 100:g} in 100 such intervals leave out 0."
        )
    return notes
