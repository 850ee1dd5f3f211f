"""Who is compared with whom under the null hypothesis: the same draws for every statistic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Draws:
    """What all permutations and resamples are made from, once for all statistics.

    The unit is a row; with groups it is what a group has on one side: dependent rows carry less evidence than as many
    independent ones, so they move together. Then a draw keeps the units of each side, and its rows vary.

    ``sides`` [rows] bool, True for incoming; ``member`` [rows]: the unit of each row; ``keys`` [draws, units]: in each
    draw the units with the lowest keys are incoming.
    """

    sides: Array
    member: Array
    keys: Array

    @classmethod
    def make(cls, sides: Array, draws: int, rng: np.random.Generator, groups: Sequence[str] | None = None) -> Draws:
        member = np.arange(len(sides))
        if groups is not None:
            named = [f"{group}\x1f{side}" for group, side in zip(groups, sides, strict=True)]
            member = np.unique(np.asarray(named), return_inverse=True)[1]
        return cls(sides, member, rng.random((draws, int(member.max(initial=-1)) + 1)))

    def sides_of(self, rows: Array, strata: Array | None = None) -> Array:
        """The observed sides and the permutations of them, [draws + 1, chosen rows] bool.

        A statistic that only some rows have (a label, a champion's output on rows that it was not trained on) is
        permuted among these rows: they need not be spread over the sides as all rows are, and if their sizes were not
        kept, that alone would look like a shift. The keys are shared, so that statistics stay as dependent as they are.

        Args:
            rows: [all rows] bool. strata: [all rows]; permute inside each of its values only, which tests whether the
                sides differ beyond what this value tells (a conditional test).
        """
        chosen = np.flatnonzero(rows)
        stratum = np.zeros(len(chosen), dtype=np.int64) if strata is None else strata[chosen]
        pairs = np.column_stack([self.member[chosen], np.unique(stratum, return_inverse=True)[1]])
        units, first, member = np.unique(pairs, axis=0, return_index=True, return_inverse=True)
        side = self.sides[chosen][first]
        found = np.empty((len(self.keys) + 1, len(chosen)), dtype=bool)
        found[0] = self.sides[chosen]
        drawn = np.zeros((len(self.keys), len(units)), dtype=bool)
        for value in np.unique(units[:, 1]):
            here = np.flatnonzero(units[:, 1] == value)
            wanted = int(side[here].sum())
            lowest = np.argsort(self.keys[:, units[here, 0]], axis=1, kind="stable")[:, :wanted]
            np.put_along_axis(drawn, here[lowest], True, axis=1)
        found[1:] = drawn[:, member.reshape(-1)]
        return found

    def resamples(self, count: int, rng: np.random.Generator) -> Array:
        """How often each row comes in a bootstrap sample of the units of its side, [count, rows] float64."""
        units, first = np.unique(self.member, return_index=True)
        times = np.empty((count, len(units)))
        for side in (True, False):
            here = np.flatnonzero(self.sides[first] == side)
            if len(here):
                times[:, here] = rng.multinomial(len(here), np.full(len(here), 1 / len(here)), size=count)
        found: Array = times[:, self.member]
        return found


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
