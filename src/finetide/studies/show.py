"""A study for people: a table on the terminal, one HTML page, its chart as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from finetide.contracts.metrics import METRIC_NAMES, Measure
from finetide.contracts.rows import ROLES
from finetide.contracts.study import Study, StudyResult
from finetide.files import write_text
from finetide.report import charts
from finetide.report.page import environment, style
from finetide.report.words import BASELINE_NAMES, ROLE_NAMES, count, interval, percent
from finetide.studies.bench import Terms
from finetide.studies.chart import Point, efficiency, over_labels, standalone
from finetide.studies.collapse import spread
from finetide.studies.depth import yardstick
from finetide.studies.describe import over_runs, short_points, whole_role
from finetide.studies.methods import NAMES

Row = tuple[str, ...]
Table = tuple[Row, list[Row]]
TITLES = {
    "curve": "Label efficiency", "compare": "Where to start from", "seeds": "Seeds", "layers": "Layers and {unit}",
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
    title = TITLES[study.kind].format(unit=study.unit)
    notes = tuple(_notes(study))
    return Sheet(title, study.model, study.sentence, _charts(study), head, tuple(rows), notes)


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
        (NAMES[one.method], "" if one.share is None else f"{one.share:.3g}", count(one.rows),
         *_scores(study, one, role), _seconds(one))
        for one in ordered
    ]  # fmt: skip
    main, *others = _metrics(study)
    return ("how", "share", study.unit, main, "interval", *others, "seconds"), rows


def _compare(study: Study) -> Table:
    roles = [role for role in ROLES if role in study.test_rows]
    head = ["how"]
    for role in roles:
        head += [ROLE_NAMES[role], "interval", *_metrics(study)[1:], "against fine-tuned"]
    rows: list[Row] = []
    for one in study.results:
        cells = [NAMES[one.method]]
        for role in roles:
            cells += [*_scores(study, one, role), short_points(one.against[role]) if one.against else ""]
        rows.append((*cells, _seconds(one), _joules(one)))
    return (*head, "seconds", "energy"), rows


def _seeds(study: Study) -> Table:
    rows: list[Row] = [
        (f"seed {run.seed}", *(percent(run.measures[metric]) for metric in study.metrics),
         percent(run.validation or 0.0), str(run.steps), f"{run.seconds:.1f}", "collapsed" if run.collapsed else "")
        for run in study.results[0].runs
    ]  # fmt: skip
    return ("run", *_metrics(study), "validation", "steps", "seconds", ""), rows


def _layers(study: Study) -> Table:
    roles = [role for role in ROLES if role in study.test_rows]
    head = ["policy", study.unit, "learn"]
    for role in roles:
        head += [ROLE_NAMES[role], "interval", f"against {yardstick(study.results)}"]
    rows: list[Row] = []
    for one in study.results:
        learn, gap = over_runs(one, "trainable"), over_runs(one, "gap")
        cells = [_name(one), count(one.rows), "–" if learn is None else count(round(learn))]
        for role in roles:
            reached = one.roles[role][study.metrics[0]]
            cells += [
                percent(reached.value),
                interval(reached),
                short_points(one.against[role]) if one.against else "",
            ]
        rows.append((*cells, "–" if gap is None else f"{gap * 100:.1f}", _seconds(one)))
    return (*head, "gap", "seconds"), rows


def _name(one: StudyResult) -> str:
    return one.policy or NAMES[one.method]


def _terms(study: Study) -> Terms:
    return Terms.of(study.metrics, study.unit)


def _metrics(study: Study) -> list[str]:
    """In words, the main one first."""
    return [METRIC_NAMES[metric] for metric in study.metrics]


def _scores(study: Study, one: StudyResult, role: str) -> list[str]:
    """The main metric, its interval, the others."""
    main, *others = (one.roles[role][metric] for metric in study.metrics)
    return [percent(main.value), interval(main), *(percent(other.value) for other in others)]


def _seconds(one: StudyResult) -> str:
    return f"{sum(run.seconds for run in one.runs) / len(one.runs):.1f}"


def _joules(one: StudyResult) -> str:
    known = [run.joules for run in one.runs if run.joules is not None]
    return f"{sum(known) / len(known):.0f} J" if len(known) == len(one.runs) else "–"


def _charts(study: Study) -> tuple[Markup, ...]:
    terms = _terms(study)
    if study.kind == "curve":
        role = whole_role(study.test_rows)
        return (efficiency(f"{terms.title} by training {terms.unit}, {ROLE_NAMES[role]}", study.results, role, terms),)
    if study.kind == "seeds":
        (found,) = study.results
        reached = {f"seed {run.seed}": _plain(run.measures[terms.metric]) for run in found.runs}
        return (charts.bars(f"{terms.title} by seed", reached),)
    if study.kind == "layers" and len({one.rows for one in study.results}) > 1:
        return _lines(study)
    roles = [role for role in ("incoming", "reference") if role in study.test_rows]
    return tuple(_bars(study, role) for role in roles)


def _bars(study: Study, role: str) -> Markup:
    """The first bar stands out: what the others are held against, or the best policy."""
    terms = _terms(study)
    shown = [(_name(one), one.roles[role][terms.metric]) for one in study.results]
    if study.kind == "layers":
        shown.sort(key=lambda bar: -bar[1].value)
    return charts.bars(f"{terms.title}, {ROLE_NAMES[role]}", dict(shown))


def _lines(study: Study) -> tuple[Markup, Markup]:
    """A policy has the same colour in both charts."""
    role, terms = whole_role(study.test_rows), _terms(study)
    reached: dict[str, list[Point]] = {}
    gaps: dict[str, list[Point]] = {}
    for one in study.results:
        reached.setdefault(_name(one), []).append((one.rows, one.roles[role][terms.metric]))
        gap = over_runs(one, "gap")
        gaps.setdefault(_name(one), []).extend([] if gap is None else [(one.rows, _plain(gap))])
    return (
        over_labels(f"{terms.title} by training {terms.unit}, {ROLE_NAMES[role]}", terms.unit, reached),
        over_labels(f"{terms.title} on training rows less that on validation, in the end", terms.unit, gaps),
    )


def _plain(value: float) -> Measure:
    return Measure(value=value, low=None, high=None, rows=0)


def _notes(study: Study) -> list[str]:
    terms = _terms(study)
    labels = "" if study.labels is None else f"; {study.labels} labels"
    naive = "; ".join(f"{BASELINE_NAMES[name]} {percent(value)}" for name, value in study.naive.items())
    tested = ", ".join(f"{count(rows)} {ROLE_NAMES[role]}" for role, rows in sorted(study.test_rows.items()))
    notes = [
        f"{count(study.train_rows)} labelled training rows, {count(study.validation_rows)} validation rows (every run "
        f"uses all of them, to choose its best weights), test rows: {tested}{labels}.",
        f"Without any model, {terms.name}: {naive}. Intervals over the test rows cover {study.confidence * 100:g} %; "
        "seconds are of building and training one model, on average.",
    ]
    notes += [f"{NAMES[method].capitalize()}: {how}." for method, how in study.made.items()]
    notes += [f"{NAMES[method].capitalize()} is left out: {why}." for method, why in study.left_out.items()]
    notes += [f"Energy: {study.energy}."]
    if study.kind == "layers":
        notes += _notes_on_layers(study)
    for one in study.results:
        of = _name(one) + ("" if one.share is None else f", {count(one.rows)} {terms.unit}")
        if len(one.runs) > 1:
            values = [run.measures[terms.metric] for run in one.runs]
            ends = f"{percent(min(values))} to {percent(max(values))}"
            notes.append(f"{of}: {len(values)} seeds, {ends}, standard deviation {spread(values) * 100:.2f} points.")
        notes += [f"{of}, seed {run.seed} collapsed: {run.collapsed}." for run in one.runs if run.collapsed]
    return notes


def _notes_on_layers(study: Study) -> list[str]:
    compared, name = sum(one.shallower is not None for one in study.results), _terms(study).name
    notes = [
        f"Learn: how many values of the model do. Gap: by how many points {name} on a sample of the training rows "
        "exceeds that on validation, at the last evaluation of the last tune phase. Tested are the weights that were "
        f"best on validation, those before the phase included, so a part of the overfitting is not seen in the {name}."
    ]
    if compared:
        notes.append(
            "Each policy is held against the best on validation of those with which fewer values learn (adapters and "
            f"bitfit left out, which reach every block), {compared} times in all; by chance alone "
            f"{100 - study.confidence * 100:g} in 100 such intervals leave out 0."
        )
    return notes
