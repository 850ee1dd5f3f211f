"""SVG as text: enough for the four charts of the report. Everything that is not Markup is escaped."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from markupsafe import Markup, escape

Value = str | float | int


def tag(name: str, *children: str, **attributes: Value) -> Markup:
    """``class_`` and names with an underscore become ``class`` and names with a dash."""
    shown = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), number(value)) for key, value in attributes.items()
    )
    return Markup("<{}{}>{}</{}>").format(Markup(name), shown, Markup("").join(map(escape, children)), Markup(name))


def svg(width: float, height: float, label: str, *children: str) -> Markup:
    """Args: label: what a screen reader says."""
    box = f"0 0 {number(width)} {number(height)}"
    return tag("svg", *children, viewBox=box, role="img", aria_label=label, style=f"max-width:{number(width)}px")


def text(x: float, y: float, words: str, class_: str = "t", anchor: str = "start", **attributes: Value) -> Markup:
    return tag("text", words, x=x, y=y, class_=class_, text_anchor=anchor, **attributes)


def line(x1: float, y1: float, x2: float, y2: float, class_: str = "axis") -> Markup:
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def path(points: Iterable[tuple[float, float]], class_: str) -> Markup:
    drawn = " ".join(f"{'M' if i == 0 else 'L'}{number(x)} {number(y)}" for i, (x, y) in enumerate(points))
    return tag("path", d=drawn, class_=class_)


def number(value: Value) -> str:
    """Two decimals are a hundredth of a pixel; more would only make the page larger."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """About ``count`` round numbers from ``low`` to ``high``."""
    raw = max(high - low, 1e-9) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [round((first + i) * step, 10) for i in range(math.floor(high / step + 1e-9) - first + 1)]


def spread(values: Sequence[float], margin: float = 0.05) -> tuple[float, float]:
    """The range of the values with some air."""
    low, high = min(values), max(values)
    air = max((high - low) * margin, 1e-3)
    return low - air, high + air
