"""A search and a rate test for people: table, sensitivity, and what was written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from finetide.contracts.search import Search, Tried
from finetide.engine.rates import RateTest
from finetide.report.charts import WIDTH, Panel
from finetide.report.svg import line, path, spread, svg, tag, text
from finetide.report.words import count, percent
from finetide.studies.show import Sheet, write_sheet

NAMES = {"learning_rate": "learning rate", "layers": "layers", "length": "length"}
HEIGHT = 150.0


def sheet(found: Search) -> Sheet:
    order = sorted(found.trials, key=lambda one: (one.value is None, -(one.value or 0.0), one.loss or 0.0))
    rows = tuple(
        (f"trial {one.number + 1}{' (as it was)' if one.number == found.start else ''}", f"{one.learning_rate:.2g}",
         one.layers, str(one.length), percent(one.value) if one.value is not None else one.state,
         f"{one.loss:.4f}" if one.loss is not None else "")
        for one in order
    )  # fmt: skip
    head = ("trial", "rate", "layers", found.unit, f"validation {found.metric}", "loss")
    return Sheet("Settings", found.model, found.sentence, (_sensitivity(found),), head, rows, tuple(_notes(found)))


def write(found: Search, folder: Path) -> list[Path]:
    """tune.json, tune.svg and tune.html below ``folder``."""
    found.write(folder / "tune.json")
    return [folder / "tune.json", *write_sheet(sheet(found), folder, "tune")]


def rate_sheet(model: str, test: RateTest, present: float, phase: int) -> Sheet:
    best = "the loss falls nowhere: begin with a lower rate" if test.best is None else f"{test.best:.2g}"
    sentence = f"The loss falls fastest at a rate of {best}; params.yaml has {present:g} for phase {phase}."
    if test.best is None:
        sentence = f"The loss falls nowhere in this test; params.yaml has {present:g} for phase {phase}."
    every = max(1, len(test.rates) // 12)
    rows = tuple(
        (f"{rate:.2e}", f"{loss:.4f}") for rate, loss in list(zip(test.rates, test.losses, strict=True))[::every]
    )
    notes = (
        f"{len(test.rates)} optimizer steps, each with a higher rate than the one before; the loss is of training "
        "batches, smoothed. Nothing of it stays: weights, random state and outputs are as before.",
    )
    return Sheet("Learning rate", model, sentence, (_rates(test),), ("rate", "loss"), rows, notes)


def _notes(found: Search) -> list[str]:
    states = [one.state for one in found.trials]
    notes = [
        f"{len(states)} trials: {states.count('done')} to the end, {states.count('pruned')} pruned, "
        f"{states.count('failed')} failed. Scored on {count(found.validation_rows)} validation rows; no test row is "
        "looked at. The best of many looks better than it is: test it.",
    ]
    if found.importance:
        shares = ", ".join(f"{NAMES[name]} {share:.0%}" for name, share in found.importance.items())
        notes.append(f"Share of the differences that each setting explains (fANOVA): {shares}.")
    notes += [f"Trial {one.number + 1} {one.state}: {one.said}." for one in found.trials if one.said]
    return notes


def _sensitivity(found: Search) -> Markup:
    """The metric over each setting, one dot a finished trial; the best one is filled in another colour."""
    done = [one for one in found.trials if one.value is not None]
    low, high = spread([one.value or 0.0 for one in done])
    title = f"Validation {found.metric} by setting"
    drawn = [text(0, 12, title, "title")]
    layers = sorted({one.layers for one in done})
    rates = [one.learning_rate for one in done]
    kinds: list[tuple[str, list[float], list[str]]] = [
        ("learning rate", [math.log10(rate) for rate in rates], [f"{rate:.1e}" for rate in rates]),
        (found.unit, [float(one.length) for one in done], [str(one.length) for one in done]),
        ("layers", [float(layers.index(one.layers)) for one in done], [one.layers for one in done]),
    ]
    for place, (name, xs, said) in enumerate(kinds):
        top = 34 + place * (HEIGHT + 54)
        drawn += _dots(name, top, done, xs, said, (max(0.0, low), min(1.0, high)), found.best)
    return svg(WIDTH, 34 + 3 * (HEIGHT + 54), title, *drawn)


def _dots(
    name: str, top: float, done: Sequence[Tried], xs: list[float], said: list[str], y: tuple[float, float], best: int
) -> list[Markup]:
    panel = Panel(52, top, WIDTH - 76, HEIGHT, spread(xs, 0.1), y)
    bottom = panel.top + panel.height
    drawn = panel.grid(percent=True)
    shown: float | None = None
    for x, words in sorted(set(zip(xs, said, strict=True))):
        if shown is None or panel.x(x) - shown > 62:
            shown = panel.x(x)
            drawn += [line(shown, bottom, shown, bottom + 4, "axis"), text(shown, bottom + 17, words, anchor="middle")]
    drawn.append(text(panel.left + panel.width / 2, bottom + 34, name, anchor="middle"))
    for one, x in zip(done, xs, strict=True):
        colour = "dot c1" if one.number == best else "dot c0"
        drawn.append(tag("circle", cx=panel.x(x), cy=panel.y(one.value or 0.0), r=4.0, class_=colour))
    return drawn


def _rates(test: RateTest) -> Markup:
    xs = [math.log10(rate) for rate in test.rates]
    ceiling = 2 * test.losses[0] if test.losses[0] > 0 else max(test.losses)
    losses = [min(loss, ceiling) for loss in test.losses]
    panel = Panel(52, 34, WIDTH - 76, 230, spread(xs), spread(losses))
    bottom = panel.top + panel.height
    drawn = [text(0, 12, "Training loss by learning rate", "title"), *panel.grid(percent=False)]
    for power in range(math.ceil(xs[0]), math.floor(xs[-1]) + 1):
        drawn.append(line(panel.x(power), bottom, panel.x(power), bottom + 4, "axis"))
        drawn.append(text(panel.x(power), bottom + 17, f"1e{power}", anchor="middle"))
    drawn.append(text(panel.left + panel.width / 2, bottom + 34, "learning rate", anchor="middle"))
    drawn.append(path([(panel.x(x), panel.y(loss)) for x, loss in zip(xs, losses, strict=True)], "line c0"))
    if test.best is not None:
        place = panel.x(math.log10(test.best))
        drawn.append(line(place, panel.top, place, bottom, "boundary"))
    return svg(WIDTH, bottom + 42, "Training loss by learning rate", *drawn)
