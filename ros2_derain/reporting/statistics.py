"""Percentiles and means as reports give them: rounded, None of nothing."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

import numpy as np


def percentiles(values: Sequence[float]) -> dict[str, float] | None:
    """p50, p95, p99 and max, rounded to 0.01; None of no values."""
    if not values:
        return None
    found = np.percentile(values, (50, 95, 99, 100))
    return {
        name: round(float(value), 2) for name, value in zip(("p50", "p95", "p99", "max"), found, strict=True)
    }


def mean(values: Iterable[float]) -> float | None:
    """Mean of the finite values, rounded to 0.01; None of none."""
    finite = [value for value in values if math.isfinite(value)]
    return round(fmean(finite), 2) if finite else None


def stages(values: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """``{"derain.p50": 81.0, ...}`` as ``{"derain": {"p50": 81.0, ...}}``."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for key, value in values.items():
        stage, _, percentile = key.rpartition(".")
        found[stage][percentile] = value
    return dict(found)
