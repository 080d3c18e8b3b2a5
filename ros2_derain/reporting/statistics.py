"""Statistics as reports give them: None where there is nothing to average, or where JSON has no number."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

import numpy as np


def percentiles(values: Sequence[float], digits: int = 2) -> dict[str, float] | None:
    """p50, p95, p99 and max, rounded to this many decimals; None without values."""
    if not values:
        return None
    found = np.percentile(values, (50, 95, 99, 100))
    return {
        name: round(float(value), digits)
        for name, value in zip(("p50", "p95", "p99", "max"), found, strict=True)
    }


def mean(values: Iterable[float], digits: int = 2) -> float | None:
    """Mean of the finite values, rounded to this many decimals; None without any."""
    known = [value for value in values if math.isfinite(value)]
    return round(fmean(known), digits) if known else None


def stages(values: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """``{"derain.p50": 81.0, ...}`` as ``{"derain": {"p50": 81.0, ...}}``."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for key, value in values.items():
        stage, _, percentile = key.rpartition(".")
        found[stage][percentile] = value
    return dict(found)


def finite(value: float | None) -> float | None:
    """The value; None for NaN and infinity, which JSON cannot represent."""
    return float(value) if value is not None and math.isfinite(value) else None


def mean_row(rows: Sequence[Mapping]) -> dict:
    """Mean of each figure, and of each within a mapping, over the rows that have it; None where one is None.

    Args:
        rows: mappings to numbers, None, or such mappings; at least one.
    """
    result: dict = {}
    for key in dict.fromkeys(key for row in rows for key in row):
        values = [row[key] for row in rows if key in row]
        if isinstance(values[0], Mapping):
            result[key] = mean_row(values)
        else:
            result[key] = None if None in values else float(np.mean(values))
    return result


def deviations(rows: Sequence[Mapping]) -> dict[str, float]:
    """Sample standard deviation (n - 1) of each plain figure; figures without one are left out."""
    return {
        key: float(np.std([row[key] for row in rows], ddof=1))
        for key, first in rows[0].items()
        if not isinstance(first, Mapping) and len(rows) > 1 and None not in [row[key] for row in rows]
    }


def spearman(first: Iterable[float], second: Iterable[float]) -> float | None:
    """Spearman's rank correlation, -1..1; None where one side is constant.

    Pearson's correlation of the ranks; equal values share the mean of their ranks.
    """
    ranks, others = (_ranks(np.asarray(list(values), float)) for values in (first, second))
    if any(len(side) < 2 or np.ptp(side) == 0 for side in (ranks, others)):
        return None
    return float(np.corrcoef(ranks, others)[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    _, place, times = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(times)
    return (last - (times - 1) / 2)[place.ravel()]
