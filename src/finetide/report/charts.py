"""The charts of the report, as inline SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from finetide.contracts.metrics import Measure, ReliabilityBin
from finetide.report.svg import line, path, spread, svg, tag, text, ticks

WIDTH = 560.0
# A confusion with more labels is drawn without the numbers, and with still more without the names.
NUMBERS_UP_TO, NAMES_UP_TO = 14, 40


@dataclass(frozen=True)
class Panel:
    """The drawing area of a chart and its scales; ``y`` grows upwards."""

    left: float
    top: float
    width: float
    height: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    def x(self, value: float) -> float:
        low, high = self.x_range
        return self.left + (value - low) / (high - low) * self.width

    def y(self, value: float) -> float:
        low, high = self.y_range
        return self.top + self.height - (value - low) / (high - low) * self.height

    def grid(self, percent: bool) -> list[Markup]:
        marks: list[Markup] = []
        for value in ticks(*self.y_range):
            marks.append(line(self.left, self.y(value), self.left + self.width, self.y(value), "grid"))
            shown = f"{value:.0%}" if percent else f"{value:g}"
            marks.append(text(self.left - 8, self.y(value) + 3.5, shown, anchor="end"))
        return marks


def curves(
    title: str,
    steps: Sequence[float | None],
    series: Mapping[str, Sequence[float | None]],
    *,
    boundaries: Mapping[str, float],
    percent: bool,
) -> Markup:
    """Lines over optimizer steps.

    Args:
        series: name → a value a step, None where none was taken.
        boundaries: phase → step at which it starts.
    """
    known = {
        name: [(x, y) for x, y in zip(steps, values, strict=True) if x is not None and y is not None]
        for name, values in series.items()
    }
    points = [point for found in known.values() for point in found]
    if not points:
        return Markup("")
    xs = [x for x, _ in points]
    panel = Panel(52, 34, WIDTH - 66, 170, (min(xs), max(*xs, min(xs) + 1)), spread([y for _, y in points]))
    drawn = [text(0, 12, title, "title"), *panel.grid(percent)]
    for name, start in boundaries.items():
        if panel.x_range[0] <= start <= panel.x_range[1]:
            x = panel.x(start)
            drawn.append(line(x, panel.top, x, panel.top + panel.height, "boundary"))
            near_end = x > panel.left + panel.width * 0.85
            drawn.append(
                text(x + (-4 if near_end else 4), panel.top + 9, name, "t faint", "end" if near_end else "start")
            )
    for value in ticks(*panel.x_range, count=6):
        drawn.append(text(panel.x(value), panel.top + panel.height + 16, f"{value:g}", anchor="middle"))
    for index, (name, found) in enumerate(known.items()):
        placed = [(panel.x(x), panel.y(y)) for x, y in found]
        drawn.append(path(placed, f"line c{index}"))
        drawn += (
            [tag("circle", cx=x, cy=y, r=2.4, class_=f"dot c{index}") for x, y in placed] if len(placed) < 60 else []
        )
        drawn.append(line(WIDTH - 150, 8 + 14 * index, WIDTH - 132, 8 + 14 * index, f"line c{index}"))
        drawn.append(text(WIDTH - 126, 12 + 14 * index, name))
    drawn.append(text(panel.left + panel.width / 2, panel.top + panel.height + 32, "optimizer step", anchor="middle"))
    return svg(WIDTH, panel.top + panel.height + 40, title, *drawn)


def bars(title: str, measures: Mapping[str, Measure]) -> Markup:
    """A horizontal bar a name, from 0 to 1, with its interval; the first is drawn as ours."""
    panel = Panel(240, 26, WIDTH - 320, 30.0 * len(measures), (0.0, 1.0), (0.0, 1.0))
    bottom = panel.top + panel.height
    drawn = [text(0, 12, title, "title")]
    for value in (0.0, 0.25, 0.5, 0.75, 1.0):
        drawn.append(line(panel.x(value), panel.top, panel.x(value), bottom, "grid"))
        drawn.append(text(panel.x(value), bottom + 15, f"{value:.0%}", anchor="middle"))
    for index, (name, measure) in enumerate(measures.items()):
        middle = panel.top + 30.0 * index + 15
        width = panel.x(measure.value) - panel.left
        drawn.append(text(panel.left - 10, middle + 4, name, "t strong" if index == 0 else "t", "end"))
        shade = "ours" if index == 0 else "other"
        drawn.append(tag("rect", x=panel.left, y=middle - 8, width=width, height=16.0, rx=2, class_=shade))
        end = measure.value
        if measure.low is not None and measure.high is not None:
            low, high, end = panel.x(measure.low), panel.x(measure.high), max(measure.high, measure.value)
            drawn.append(line(low, middle, high, middle, "whisker"))
            drawn += [line(x, middle - 4, x, middle + 4, "whisker") for x in (low, high)]
        drawn.append(text(panel.x(end) + 8, middle + 4, f"{measure.value:.1%}", "t strong" if index == 0 else "t"))
    return svg(WIDTH, bottom + 22, title, *drawn)


def reliability(title: str, bins: Sequence[ReliabilityBin]) -> Markup:
    """Share right against mean score, a bar a bin, with the diagonal of perfect calibration and the rows below."""
    panel = Panel(48, 28, 300, 230, (0.0, 1.0), (0.0, 1.0))
    bottom, most = panel.top + panel.height, max([bar.rows for bar in bins], default=0) or 1
    drawn = [text(0, 12, title, "title"), *panel.grid(percent=True)]
    for bar in bins:
        left, width = panel.x(bar.low) + 1, panel.x(bar.high) - panel.x(bar.low) - 2
        seen = f"{bar.rows} rows, mean {bar.confidence:.1%}, right {bar.accuracy:.1%}"
        note = f"scores {bar.low:.0%} to {bar.high:.0%}: {seen}"
        if bar.rows:
            top = panel.y(bar.accuracy)
            box = tag("rect", tag("title", note), x=left, y=top, width=width, height=bottom - top, class_="ours")
            drawn += [box, tag("circle", cx=panel.x(bar.confidence), cy=top, r=3.0, class_="dot c1")]
        tall = 34.0 * bar.rows / most
        drawn.append(
            tag("rect", tag("title", note), x=left, y=bottom + 62 - tall, width=width, height=tall, class_="other")
        )
    drawn.append(line(panel.x(0), panel.y(0), panel.x(1), panel.y(1), "diagonal"))
    for value in (0.0, 0.25, 0.5, 0.75, 1.0):
        drawn.append(text(panel.x(value), bottom + 16, f"{value:.0%}", anchor="middle"))
    drawn.append(text(panel.left - 8, bottom + 58, "rows", anchor="end"))
    drawn.append(text(panel.left + panel.width / 2, bottom + 80, "score of the predicted label", anchor="middle"))
    return svg(380, bottom + 88, title, *drawn)


def heat_map(title: str, labels: Sequence[str], confusion: Sequence[Sequence[int]]) -> Markup:
    """Confusion, actual by predicted; the colour is the share of the actual label's rows."""
    count = len(labels)
    named = count <= NAMES_UP_TO
    margin = 8 + 6.2 * min(max((len(label) for label in labels), default=0), 24) if named else 20.0
    cell = max(min(44.0, 560.0 / max(count, 1)), 5.0)
    size, top = cell * count, margin * 0.72 + 22 if named else 40.0
    drawn = [text(0, 12, title, "title"), tag("rect", x=margin, y=top, width=size, height=size, class_="frame")]
    for i, (label, row) in enumerate(zip(labels, confusion, strict=True)):
        y, total = top + cell * i, sum(row)
        if named:
            shown = label if len(label) <= 24 else f"{label[:23]}…"
            x = margin + cell * (i + 0.5)
            drawn.append(text(margin - 6, y + cell / 2 + 3.5, shown, anchor="end"))
            drawn.append(text(x, top - 6, shown, transform=f"rotate(-45 {x:.1f} {top - 6:.1f})"))
        drawn += [
            part
            for j, rows in enumerate(row)
            if rows
            for part in _cell(
                margin + cell * j, y, cell, rows, total, i == j, f"{label} → {labels[j]}: {rows} of {total}"
            )
        ]
    end = top + size
    drawn.append(text(margin + size / 2, end + 18, "predicted (columns), actual (rows)", "t faint", "middle"))
    return svg(margin + size + (margin * 0.75 if named else 10), end + 26, title, *drawn)


def _cell(x: float, y: float, size: float, rows: int, total: int, right: bool, note: str) -> list[Markup]:
    share = rows / total
    box = tag(
        "rect",
        tag("title", note),
        x=x + 0.5,
        y=y + 0.5,
        width=size - 1,
        height=size - 1,
        class_="right" if right else "wrong",
        fill_opacity=round(0.12 + 0.88 * share, 2),
    )
    if size < 560.0 / NUMBERS_UP_TO - 1:
        return [box]
    return [box, text(x + size / 2, y + size / 2 + 4, str(rows), "t on" if share > 0.5 else "t", "middle")]
