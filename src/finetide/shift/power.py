"""What these sizes can show: critical and detectable effects, power curves, rows that would do."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import norm

from finetide.contracts.shift import Statistic
from finetide.shift.measure import Measured
from finetide.shift.permute import p_values
from finetide.shift.statistics import auc_deviation, normal_interval

POWER = 0.8


def describe(measured: Measured, adjusted: float, alpha: float) -> Statistic:
    """The statistic as it stands in shift.json.

    ``detectable`` lies as far above the critical value as an effect has to, to be above it in 80 % of windows: by
    0.84 of its standard error.
    """
    null = measured.values[1:]
    critical = float(np.quantile(null, 1 - alpha, method="higher"))
    least, most = measured.bounds
    low, high = normal_interval(float(measured.values[0]), measured.deviation)
    return Statistic(
        name=measured.name,
        p=float(p_values(measured.values)[0]),
        adjusted=adjusted,
        draws=len(null),
        effect=float(measured.values[0]),
        unit=measured.unit,
        low=max(low, least),
        high=min(high, most),
        expected=float(null.mean()),
        critical=critical,
        detectable=min(critical + float(norm.ppf(POWER)) * measured.deviation, most),
        incoming_rows=measured.sizes[0],
        reference_rows=measured.sizes[1],
        note=measured.note,
    )


def rows_needed(detectable: float, matters: float, incoming: int, reference: int) -> tuple[int, bool]:
    """Incoming rows with which a domain AUC of ``matters`` would be detectable.

    What is detectable above 0.5 falls with the root of the harmonic mean of the sizes. Where no number of incoming rows
    would do against these reference rows, both sides have to grow.

    Returns:
        The rows, and whether as many reference rows are needed, too.
    """
    wanted = 2 / (1 / incoming + 1 / reference) * ((detectable - 0.5) / (matters - 0.5)) ** 2
    rest = 2 / wanted - 1 / reference
    if rest > 0 and 1 / rest <= 4 * wanted:
        return math.ceil(1 / rest), False
    return math.ceil(wanted), True


def detectable(critical: float, sizes: tuple[int, int], at: tuple[int, int]) -> float:
    """The domain AUC that is found in 80 % of windows of ``at`` rows. Args: see `curve`."""
    limit = _limit(critical, sizes, at)
    return min(1.0, limit + float(norm.ppf(POWER)) * auc_deviation(min(limit, 1.0), *at))


def curve(critical: float, sizes: tuple[int, int], at: tuple[int, int], effects: Sequence[float]) -> list[float]:
    """Chance that the domain classifier's test finds a shift with each AUC of ``effects`` in windows of ``at`` rows.

    Args: critical: AUC that is significant at ``sizes`` (incoming, reference), where the null was drawn.
    """
    limit = _limit(critical, sizes, at)
    return [float(norm.sf((limit - effect) / max(auc_deviation(effect, *at), 1e-9))) for effect in effects]


def _limit(critical: float, sizes: tuple[int, int], at: tuple[int, int]) -> float:
    """The AUC that is significant in windows of ``at`` rows."""
    return 0.5 + (critical - 0.5) * math.sqrt((1 / at[0] + 1 / at[1]) / (1 / sizes[0] + 1 / sizes[1]))
