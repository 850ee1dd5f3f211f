"""The label-efficiency curve as SVG, in the report's style."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from finetide import report
from finetide.contracts.metrics import Measure
from finetide.contracts.study import Method, StudyResult
from finetide.report.charts import WIDTH, Panel
from finetide.report.svg import line, path, spread, svg, tag, text
from finetide.report.words import count
from finetide.studies.methods import NAMES

LINES: tuple[Method, ...] = ("tuned", "scratch", "probe")


def efficiency(title: str, results: Sequence[StudyResult], role: str) -> Markup:
    """Accuracy with its interval over the number of training labels, which grows tenfold in equal steps."""
    values = [one.roles[role]["accuracy"] for one in results]
    labels = sorted({one.rows for one in results if one.share is not None})
    xs = [math.log10(rows) for rows in labels]
    ends = [end for value in values for end in (value.low, value.high, value.value) if end is not None]
    low, high = spread(ends)
    panel = Panel(52, 58, WIDTH - 76, 230, (xs[0] - 0.08, xs[-1] + 0.08), (max(0.0, low), min(1.0, high)))
    bottom = panel.top + panel.height
    drawn = [text(0, 12, title, "title"), *panel.grid(percent=True)]
    for place, rows in _apart(panel, labels):
        drawn.append(line(place, bottom, place, bottom + 4, "axis"))
        drawn.append(text(place, bottom + 17, count(rows), anchor="middle"))
    drawn.append(text(panel.left + panel.width / 2, bottom + 34, "training labels", anchor="middle"))
    legend = panel.left
    for index, method in enumerate(LINES):
        found = sorted((one for one in results if one.method == method), key=lambda one: one.rows)
        if not found:
            continue
        drawn += _curve(panel, found, role, index)
        drawn += [line(legend, 32, legend + 18, 32, f"line c{index}"), text(legend + 24, 36, NAMES[method])]
        legend += 110
    for one in results:
        if one.method == "zero-shot":
            height = panel.y(one.roles[role]["accuracy"].value)
            drawn.append(line(panel.left, height, panel.left + panel.width, height, "boundary"))
            drawn += [line(legend, 32, legend + 18, 32, "boundary"), text(legend + 24, 36, NAMES["zero-shot"])]
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


def _curve(panel: Panel, found: Sequence[StudyResult], role: str, index: int) -> list[Markup]:
    # Whiskers of the three lines stand beside each other.
    aside = 4.0 * (index - 1)
    placed = [(panel.x(math.log10(one.rows)) + aside, one.roles[role]["accuracy"]) for one in found]
    drawn = [path([(x, panel.y(value.value)) for x, value in placed], f"line c{index}")]
    for x, value in placed:
        drawn += _whisker(panel, x, value)
        drawn.append(tag("circle", cx=x, cy=panel.y(value.value), r=3.2, class_=f"dot c{index}"))
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
