"""Rain as a meteorologist and a camera see it.

Sources: Marshall & Palmer 1948 (drop sizes), Atlas, Srivastava & Sekhon 1973
(terminal velocity), Weber et al. as used by Tremblay et al. 2021 (extinction).
"""

from __future__ import annotations

import math

MAX_RATE = 250.0
"""mm/h; beyond a tropical cloudburst the size distribution is no longer known."""

INTERCEPT = 8000.0
"""N0 of the Marshall-Palmer distribution in drops per m3 and mm."""


def slope(rate: float) -> float:
    """Lambda of ``N(D) = N0 exp(-Lambda D)`` in 1/mm for a rate in mm/h."""
    return 4.1 * math.pow(rate, -0.21)


def drops_per_m3(rate: float, larger_than_mm: float) -> float:
    """Number of drops above a diameter in a cubic metre of air."""
    return INTERCEPT / slope(rate) * math.exp(-slope(rate) * larger_than_mm)


def mean_diameter_mm(rate: float) -> float:
    """Mass-weighted mean diameter in mm: 4 / Lambda."""
    return 4.0 / slope(rate)


def fall_speed(diameter_mm: float) -> float:
    """Terminal velocity in m/s."""
    return max(0.5, 9.65 - 10.3 * math.exp(-0.6 * diameter_mm))


def extinction_per_m(rate: float) -> float:
    """Extinction coefficient of rain in 1/m; a contrast at d metres falls by exp(-beta d)."""
    return 0.312 * math.pow(rate, 0.67) / 1000.0
