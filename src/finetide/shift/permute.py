"""Who is compared with whom under the null hypothesis: the same draws for every statistic."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
# Numbers that are held at once, whatever the rows: 128 MiB of float64.
BLOCK = 1 << 24


@dataclass(frozen=True)
class View:
    """Some rows, as draws put them on sides. ``sides`` [rows]: the observed ones; ``member`` [rows]: the unit of each
    row among those here; ``keys`` and ``incoming`` [units]: a unit's column among all units' keys, and its side;
    ``strata``: the units that are permuted among themselves."""

    sides: Array
    member: Array
    keys: Array
    incoming: Array
    strata: tuple[Array, ...]

    def drawn(self, keys: Array) -> Array:
        """[draws, rows] bool: in each stratum the units with the lowest keys are incoming. Args: keys [draws, units]"""
        found = np.zeros((len(keys), len(self.keys)), dtype=bool)
        for here in self.strata:
            wanted = int(self.incoming[here].sum())
            if wanted:
                of_units = keys[:, self.keys[here]]
                lowest = np.argpartition(of_units, wanted - 1, axis=1)[:, :wanted]
                np.put_along_axis(found, here[lowest], True, axis=1)
        drawn: Array = found[:, self.member]
        return drawn


@dataclass(frozen=True)
class Draws:
    """What all permutations and resamples are made from, once for all statistics.

    The unit is a row; with groups it is what a group has on one side: dependent rows carry less evidence than as many
    independent ones, so they move together. Then a draw keeps the units of each side, and its rows vary.

    ``sides`` [rows] bool, True for incoming; ``member`` [rows]: the unit of each row, of ``units``. Of each of
    ``count`` draws the units get random keys, read from ``chance`` anew whenever they are needed and a block at a time:
    for a million rows they would fill the memory.
    """

    sides: Array
    member: Array
    units: int
    count: int
    chance: np.random.Generator

    @classmethod
    def make(cls, sides: Array, draws: int, rng: np.random.Generator, groups: Sequence[str] | None = None) -> Draws:
        """Args: rng: as it stands is what the keys are read from; it does not advance."""
        member = np.arange(len(sides))
        if groups is not None:
            named = [f"{group}\x1f{side}" for group, side in zip(groups, sides, strict=True)]
            member = np.unique(np.asarray(named), return_inverse=True)[1]
        return cls(sides, member, int(member.max(initial=-1)) + 1, draws, copy.deepcopy(rng))

    def of(self, places: Array) -> Draws:
        """The same draws of some rows only. Args: places: their positions."""
        return replace(self, sides=self.sides[places], member=self.member[places])

    def view(self, rows: Array, strata: Array | None = None) -> View:
        """Rows that some statistic has, with draws of their own sizes.

        A statistic that only some rows have (a label, a champion's output on rows that it was not trained on) is
        permuted among these rows: they need not be spread over the sides as all rows are, and if their sizes were not
        kept, that alone would look like a shift. The keys are shared, so that statistics stay as dependent as they are.

        Args:
            rows: [all rows] bool. strata: [all rows]; permute inside each of its values only, which tests whether the
                sides differ beyond what this value tells (a conditional test).
        """
        chosen = np.flatnonzero(rows)
        stratum = np.zeros(len(chosen), dtype=np.int64) if strata is None else strata[chosen]
        code = np.unique(stratum, return_inverse=True)[1].reshape(-1)
        pair = code * self.units + self.member[chosen]
        pairs, first, member = np.unique(pair, return_index=True, return_inverse=True)
        of_units = pairs // max(1, self.units)
        return View(
            sides=self.sides[chosen], member=member.reshape(-1), keys=pairs % max(1, self.units),
            incoming=self.sides[chosen][first],
            strata=tuple(np.flatnonzero(of_units == value) for value in np.unique(of_units)),
        )  # fmt: skip

    def evaluate(self, asked: Sequence[tuple[View, Callable[[Array], Array]]]) -> list[Array]:
        """Of each view what its function makes of the observed sides and of every draw, [draws + 1, …].

        Args: asked: the function takes [ways, rows] bool and gives one entry a way.
        """
        found: list[list[Array]] = [[] for _ in asked]
        for number, keys in enumerate(self._keys()):
            sides: dict[int, Array] = {}
            for place, (view, function) in enumerate(asked):
                if id(view) not in sides:
                    drawn = view.drawn(keys)
                    sides[id(view)] = np.vstack([view.sides[None], drawn]) if number == 0 else drawn
                found[place].append(function(sides[id(view)]))
        return [np.concatenate(parts) for parts in found]

    def sides_of(self, rows: Array, strata: Array | None = None) -> Array:
        """The observed sides and the permutations of them, [draws + 1, chosen rows] bool. Args: see `view`."""
        return self.evaluate([(self.view(rows, strata), lambda sides: sides)])[0]

    def resamples(self, count: int, rng: np.random.Generator) -> Iterator[Array]:
        """How often each row comes in a bootstrap sample of the units of its side, [some of count, rows] float64 at a
        time."""
        units, first, member = np.unique(self.member, return_index=True, return_inverse=True)
        for some in _blocks(count, len(self.member)):
            times = np.empty((some, len(units)))
            for side in (True, False):
                here = np.flatnonzero(self.sides[first] == side)
                if len(here):
                    times[:, here] = rng.multinomial(len(here), np.full(len(here), 1 / len(here)), size=some)
            yield times[:, member.reshape(-1)]

    def _keys(self) -> Iterator[Array]:
        chance = copy.deepcopy(self.chance)
        for some in _blocks(self.count, self.units):
            yield chance.random((some, self.units))


def _blocks(count: int, width: int) -> Iterator[int]:
    """How many of ``count`` rows of so many numbers are held at once; a single 0 where there are none."""
    most = max(1, BLOCK // max(1, width))
    for start in range(0, max(1, count), most):
        yield min(most, count - start)


def p_values(values: Array) -> Array:
    """For each draw (the observed one at 0) the share of all draws that are at least as extreme: (k + 1) / (n + 1).

    The observed one counts among its draws, so that p is never 0 (Phipson & Smyth 2010).

    Args: values: [draws + 1], larger is more extreme.
    """
    ordered = np.sort(values)
    at_least = len(values) - np.searchsorted(ordered, values - 1e-12 * np.abs(values).max(initial=0.0), side="left")
    shares: Array = at_least / len(values)
    return shares


def adjusted(columns: Sequence[Array]) -> list[float]:
    """The p-value of each statistic, corrected for there being several over the same draws.

    Single-step min-p of Westfall & Young 1993, algorithm 2.5: the share of draws whose most extreme statistic is at
    least as extreme as this one. The smallest of them is the p-value of all statistics together, at the promised rate
    however they depend on each other. With n draws the smallest possible p ties between the observed sides and the most
    extreme draw of each statistic; such ties are broken by the standardised statistic. Both keys treat the observed
    sides like any draw, so the test stays exact.
    """
    p = np.stack([p_values(column) for column in columns])
    z = np.stack([_standardised(column) for column in columns])
    smallest = p.min(axis=0)
    largest = np.where(p == smallest, z, -np.inf).max(axis=0)
    return [
        float(((smallest < one[0]) | ((smallest == one[0]) & (largest >= height[0]))).mean())
        for one, height in zip(p, z, strict=True)
    ]


def combine(columns: Sequence[Array]) -> float:
    """One p-value for several statistics over the same draws."""
    return min(adjusted(columns))


def _standardised(values: Array) -> Array:
    deviation = float(values.std())
    standard: Array = (values - values.mean()) / (deviation or 1.0)
    return standard
