"""Which rows and slices moved most, by the domain classifier's out-of-fold scores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from finetide.contracts.shift import MovedRow, ShiftSlice
from finetide.shift.measure import Comparison
from finetide.shift.sample import Sample
from finetide.shift.statistics import normal_interval, weighted_auc

Array = np.ndarray[Any, Any]
ROWS, SLICES, FEWEST, VALUE = 12, 20, 10, 160


def rows(sample: Sample, comparison: Comparison) -> tuple[MovedRow, ...]:
    """The incoming rows that look least like the reference, the clearest first."""
    reference = np.sort(comparison.scores[~sample.incoming])
    here = np.flatnonzero(sample.incoming)
    order = here[np.argsort(-comparison.scores[here], kind="stable")][: ROWS if sample.places else 0]
    found = []
    for place in order:
        row_id, file, line = sample.places[place]
        text = sample.shown[place] if sample.shown else ""
        found.append(
            MovedRow(
                row_id=row_id,
                file=file,
                line=line,
                value=text if len(text) <= VALUE else f"{text[: VALUE - 1]}…",
                label=sample.labels[place],
                unlike=float(np.searchsorted(reference, comparison.scores[place]) / len(reference)),
            )
        )
    return tuple(found)


def slices(sample: Sample, comparison: Comparison) -> tuple[ShiftSlice, ...]:
    """Slices with enough incoming rows, the one that moved most first; among equals by name."""
    incoming = sample.incoming
    found = []
    for name, member in _members(sample):
        inside = member & incoming
        if inside.sum() < FEWEST:
            continue
        own = member & ~incoming
        against = own if own.sum() >= FEWEST else ~incoming
        observed = weighted_auc(comparison.scores, inside[None].astype(float), against[None].astype(float))
        effect = float(observed[0])
        resampled = weighted_auc(comparison.scores, comparison.a * inside, comparison.b * against)
        low, high = normal_interval(effect, float(resampled.std()))
        found.append(
            ShiftSlice(
                slice=name,
                incoming_rows=int(inside.sum()),
                reference_rows=int(own.sum()),
                incoming_share=float(inside.sum() / incoming.sum()),
                reference_share=float(own.sum() / (~incoming).sum()),
                effect=effect,
                low=max(0.0, low),
                high=min(1.0, high),
                against="slice" if own.sum() >= FEWEST else "all",
            )
        )
    return tuple(sorted(found, key=lambda one: (-one.effect, one.slice))[:SLICES])


def _members(sample: Sample) -> Iterator[tuple[str, Array]]:
    """Name of a slice and its rows, [rows] bool."""
    columns: list[tuple[str, Array]] = [("label", np.array([label or "" for label in sample.labels]))]
    if sample.places:
        columns.append(("file", np.array([file for _, file, _ in sample.places])))
    if sample.groups is not None:
        columns.append(("group", np.asarray(sample.groups)))
    for name, values in columns:
        for value in np.unique(values):
            if value:
                yield f"{name}={value}", values == value
    if sample.texts is not None:
        words = np.array([len(text.split()) for text in sample.texts])
        short, long = np.floor(np.quantile(words, [1 / 3, 2 / 3])).astype(int)
        yield f"length: up to {short} words", words <= short
        yield f"length: {short + 1} to {long} words", (words > short) & (words <= long)
        yield f"length: over {long} words", words > long
