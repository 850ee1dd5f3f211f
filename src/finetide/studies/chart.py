"""Lines over the number of labelled training rows as SVG, in the report's style."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from markupsafe import Markup

from finetide import report
from finetide.contracts.metrics import Measure
from finetide.contracts.study import Method, StudyResult
from finetide.report.charts import WIDTH, Panel
from finetide.report.svg import line, path, spread, svg, tag, text
from finetide.report.words import count
from finetide.studies.bench import Terms
from finetide.studies.methods import NAMES

LINES: tuple[Method, ...] = ("tuned", "scratch", "probe")
# The style sheet has so many; further lines have the same ones, dashed.
COLOURS = 8
# Of the legend: its left end, the width of an entry at least, what stands beside its letters, a letter.
LEFT, ENTRY, BESIDE, LETTER = 52.0, 110.0, 38.0, 6.4
Point = tuple[int, Measure]


def efficiency(title: str, results: Sequence[StudyResult], role: str, terms: Terms) -> Markup:
    """The main metric, a line a method; zero-shot, which needs no label, is a level."""

    def points(method: Method) -> list[Point]:
        return [(one.rows, one.roles[role][terms.metric]) for one in results if one.method == method]

    levels = {NAMES[one.method]: one.roles[role][terms.metric] for one in results if one.method == "zero-shot"}
    return over_labels(title, terms.unit, {NAMES[method]: points(method) for method in LINES}, levels)


def over_labels(
    title: str, unit: str, series: Mapping[str, Sequence[Point]], levels: Mapping[str, Measure] | None = None
) -> Markup:
    """Shares with their intervals over the number of labelled training rows, which grows tenfold in equal steps.

    Args: unit: what such rows are called. series: name → points; one without any is not drawn. levels: name → a line
        from side to side.
    """
    levels = levels or {}
    kinds = {name: _kind(place) for place, name in enumerate(series)}
    entries = {name: f"line {kinds[name]}" for name, found in series.items() if found}
    legend, top = _legend({**entries, **dict.fromkeys(levels, "boundary")})
    labels = sorted({rows for found in series.values() for rows, _ in found})
    xs = [math.log10(rows) for rows in labels]
    values = [*(value for found in series.values() for _, value in found), *levels.values()]
    panel = Panel(LEFT, top, WIDTH - 76, 230, (xs[0] - 0.08, xs[-1] + 0.08), _range(values))
    bottom = panel.top + panel.height
    drawn = [text(0, 12, title, "title"), *legend, *panel.grid(percent=True)]
    for place, rows in _apart(panel, labels):
        drawn.append(line(place, bottom, place, bottom + 4, "axis"))
        drawn.append(text(place, bottom + 17, count(rows), anchor="middle"))
    drawn.append(text(panel.left + panel.width / 2, bottom + 34, f"training {unit}", anchor="middle"))
    for index, (name, found) in enumerate(series.items()):
        # Whiskers of the lines stand beside each other.
        drawn += _curve(panel, found, kinds[name], aside=4.0 * (index - (len(series) - 1) / 2))
    for value in levels.values():
        height = panel.y(value.value)
        drawn.append(line(panel.left, height, panel.left + panel.width, height, "boundary"))
    return svg(WIDTH, bottom + 42, title, *drawn)


def standalone(chart: Markup) -> str:
    """The chart as a file of its own: with the report's colours inside, and nothing loaded."""
    css = (Path(report.__file__).parent / "page.css").read_text(encoding="utf-8")
    colours = css[: css.index("}") + 1]
    rules = [rule for rule in css.splitlines() if rule.startswith("svg ")]
    rules += ["svg { background: #fff; font: 11.5px sans-serif; }"]
    style = "\n".join([colours, *(rule.replace("svg .", ".") for rule in rules)])
    opened = str(chart).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    head, body = opened.split(">", 1)
    return f"{head}>\n<style>\n{style}\n</style>\n{body}\n"


def _kind(place: int) -> str:
    return f"c{place % COLOURS}" + (" again" if place >= COLOURS else "")


def _range(values: Sequence[Measure]) -> tuple[float, float]:
    ends = [end for value in values for end in (value.low, value.high, value.value) if end is not None]
    low, high = spread(ends)
    return low if min(ends) < 0 else max(0.0, low), min(1.0, high)


def _legend(entries: Mapping[str, str]) -> tuple[list[Markup], float]:
    """Args: entries: name → class of its line. Returns: the marks, and where what is below them begins."""
    x, y = LEFT, 32.0
    drawn: list[Markup] = []
    for name, kind in entries.items():
        width = max(ENTRY, BESIDE + LETTER * len(name))
        if x > LEFT and x + width > WIDTH:
            x, y = LEFT, y + 16
        drawn += [line(x, y, x + 18, y, kind), text(x + 24, y + 4, name)]
        x += width
    return drawn, y + 26


def _curve(panel: Panel, found: Sequence[Point], kind: str, aside: float) -> list[Markup]:
    if not found:
        return []
    ordered = sorted(found, key=lambda point: point[0])
    placed = [(panel.x(math.log10(rows)) + aside, value) for rows, value in ordered]
    drawn = [path([(x, panel.y(value.value)) for x, value in placed], f"line {kind}")]
    for x, value in placed:
        drawn += _whisker(panel, x, value)
        drawn.append(tag("circle", cx=x, cy=panel.y(value.value), r=3.2, class_=f"dot {kind}"))
    return drawn


def _whisker(panel: Panel, x: float, value: Measure) -> list[Markup]:
    if value.low is None or value.high is None:
        return []
    return [line(x, panel.y(value.low), x, panel.y(value.high), "axis")]


def _apart(panel: Panel, labels: Sequence[int]) -> list[tuple[float, int]]:
    """Place and number of the marks below the axis, without those that would overlap the one before."""
    found: list[tuple[float, int]] = []
    for rows in labels:
        place = panel.x(math.log10(rows))
        if not found or place - found[-1][0] > 8 * len(count(rows)):
            found.append((place, rows))
    return found
