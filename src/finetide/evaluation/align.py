"""Brings what was computed in one order to the rows it belongs to: by row id, never by position."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from finetide.errors import DataError
from finetide.metrics.classification import IntArray

Array = TypeVar("Array", bound=np.ndarray[Any, Any])


def align(wanted: Sequence[str], ids: Sequence[str], values: Array) -> Array:
    """The rows of ``values`` in the order of ``wanted``; ``ids[i]`` names the row that ``values[i]`` is about.

    Raises:
        DataError: when ids are not unique, their number is not that of the values, or a wanted row has no value.
    """
    position = {row_id: index for index, row_id in enumerate(ids)}
    if len(position) != len(ids):
        raise DataError("row ids are not unique, so scores cannot be joined", found=_first_double(ids))
    if len(ids) != len(values):
        raise DataError("scores and row ids differ in number", found=f"{len(values)} scores, {len(ids)} ids")
    missing = [row_id for row_id in wanted if row_id not in position]
    if missing:
        raise DataError(
            f"{len(missing)} rows have no score", found=missing[0], fix="run the stages again: dvc repro -f"
        )
    return values[np.array([position[row_id] for row_id in wanted], dtype=np.int64)]  # type: ignore[return-value]


def means_of_rows(places: Sequence[Sequence[int]], ids: Sequence[str], values: Array) -> tuple[list[str], Array]:
    """Row ids, and the mean of each row's values. Args: places: of each row's examples; ids, values: one an example."""
    if len(places) == len(ids):
        return list(ids), values
    means = np.stack([values[np.asarray(place)].mean(axis=0) for place in places])
    return [ids[place[0]] for place in places], means  # type: ignore[return-value]


def label_indices(names: Sequence[str], labels: Sequence[str]) -> IntArray:
    """Position of each name in ``labels``, shape [names]. Raises: DataError for a name that is not there."""
    position = {label: index for index, label in enumerate(labels)}
    unknown = [name for name in names if name not in position]
    if unknown:
        raise DataError("a label is not among those that are scored", found=unknown[0])
    return np.array([position[name] for name in names], dtype=np.int64)


def with_unknown(labels: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """``labels``, then those of ``names`` that the model does not know, sorted: rows of them can only be wrong."""
    return (*labels, *sorted(set(names) - set(labels)))


def _first_double(ids: Sequence[str]) -> str:
    return next(row_id for row_id, times in Counter(ids).items() if times > 1)
