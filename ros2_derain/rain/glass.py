"""Water on glass: its handles, by name and by rain rate.

Sources: Halimeh & Roser 2009 and Roser & Geiger 2009 (a drop on a windscreen is a cap of a sphere that
refracts the surroundings by Snell's law), von Bernuth et al. 2019 (what is out of focus is spread over the
circle of confusion), Marshall & Palmer 1948 (drops that hit the glass).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from .render import INTERCEPT, RainError, fall_speed, mean_diameter_mm, slope

SPREADING = 2.0
"""Diameter of a drop on the glass by the diameter of the drop that fell on it."""

GLASS_RAKE = math.sin(math.radians(30))
"""Share of the vehicle's speed at which air goes through a windscreen that leans back by 60 degrees."""

DRAINING_S = 8.0
"""Seconds after which glass without a wiper loses as much water as falls on it."""

SHORTEST_WIPER = 0.3
"""Seconds between two strokes; no wiper is faster."""

MAX_COVERAGE = 0.9
"""Share of the image; drops that cover more would be a film."""

_RANGES = {
    "coverage": (0.0, MAX_COVERAGE),
    "focus": (0.0, 60.0),
    "size": (0.003, 0.3),
    "spread": (0.0, 1.2),
    "contact": (5.0, 80.0),
    "stretch": (0.2, 5.0),
    "irregular": (0.0, 1.0),
    "wiper": (0.0, 120.0),
    "smear": (0.0, 1.0),
    "film": (0.0, 1.0),
    "spray": (0.0, 1.0),
    "runs": (0.0, 20.0),
    "glint": (0.0, 5.0),
}


@dataclass(frozen=True)
class Glass:
    """Water on the glass before a camera, and the camera's view of it.

    Attributes:
        coverage: share of the pixels more than half hidden by drops, 0..0.9: the mean over time. Very small
            drops that are much out of focus hide no pixel by more than a half, so that it isn't reached.
        focus: radius of the blur in pixels of an image 640 pixels wide, 0..60: 0 is sharp (a dome in focus),
            3 to 10 a windscreen.
        size: median diameter of a drop as a share of the image's width, 0.003..0.3.
        spread: of the diameters (standard deviation of their logarithm), 0..1.2.
        contact: mean angle in degrees at which a drop meets the glass, 5..80: the higher, the stronger the
            lens and the darker its rim.
        stretch: height of a drop by its width, 0.2..5: below 1 the airflow has widened it.
        irregular: how far outlines are from ellipses, 0..1.
        wiper: seconds between two strokes; 0: there is none.
        smear: of the water that the wiper spreads and that dries behind it, 0..1.
        film: water film over the whole glass, which lowers the contrast, 0..1.
        spray: density of the spray behind vehicles, 0..1.
        runs: drops per second that run down and leave trails, 0..20.
        glint: how much brighter than white the lamps of the scene are, seen through drops, 0..5.
        seed: of everything random, at least 0.
    """

    coverage: float = 0.05
    focus: float = 4.0
    size: float = 0.02
    spread: float = 0.45
    contact: float = 45.0
    stretch: float = 1.1
    irregular: float = 0.4
    wiper: float = 0.0
    smear: float = 0.5
    film: float = 0.0
    spray: float = 0.0
    runs: float = 0.0
    glint: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise RainError(f"{name} {value} of the glass is outside {least:g}..{most:g}")
        if 0 < self.wiper < SHORTEST_WIPER:
            raise RainError(f"wiper {self.wiper} s of the glass is below {SHORTEST_WIPER:g}; 0 is no wiper")
        if not (isinstance(self.seed, int) and self.seed >= 0):
            raise RainError(f"seed {self.seed} of the glass must be an integer >= 0")

    @property
    def is_wet(self) -> bool:
        """Whether it changes an image at all."""
        return any((self.coverage, self.film, self.spray, self.runs, self.wiper))

    @classmethod
    def in_rain(
        cls, rate: float, wiper: float = 0.0, speed: float = 14.0, distance: float = 0.25, **handles: float
    ) -> Glass:
        """The glass of a windscreen in rain: coverage and size of the drops from the rain rate.

        A cubic metre of air holds drops of the cross-section ``N0 pi / 2 L^-3`` (Marshall & Palmer);
        ``SPREADING^2`` times that covers the glass, at the speed at which the glass meets the air. The wiper,
        or the draining of a glass without one, ends the accumulation.

        Args:
            rate: mm/h, 0..250.
            wiper: seconds between two strokes; 0: there is none.
            speed: of the vehicle in m/s.
            distance: of the glass from the camera in metres.
            handles: other attributes.

        Raises:
            RainError: a value is out of range.
        """
        if not 0 <= rate <= 250:
            raise RainError(f"rate {rate} mm/h is outside 0..250")
        if rate == 0:
            return cls(coverage=0.0, wiper=wiper, **handles)  # type: ignore[arg-type]
        diameter = SPREADING * mean_diameter_mm(rate) / 1000
        section = INTERCEPT * math.pi / 2 / slope(rate) ** 3 * 1e-6 * SPREADING**2
        through = GLASS_RAKE * speed + math.cos(math.radians(60)) * fall_speed(mean_diameter_mm(rate))
        accumulated = section * through * (wiper / 2 or DRAINING_S)
        coverage = min(1 - math.exp(-accumulated), MAX_COVERAGE)
        chosen = {"coverage": coverage, "size": 0.7 * 0.9 * diameter / distance, "wiper": wiper} | handles
        return cls(**chosen)  # type: ignore[arg-type]


GLASS_PRESETS: dict[str, Callable[[], Glass]] = {
    "drizzle_windscreen": lambda: Glass(
        coverage=0.03, focus=3.0, size=0.016, spread=0.5, contact=35, wiper=5.0, film=0.1
    ),
    "heavy_windscreen": lambda: Glass(
        coverage=0.12, focus=5.0, size=0.035, spread=0.5, contact=40, stretch=0.9, wiper=1.0, film=0.25,
        smear=0.8, spray=0.3, runs=0.5,
    ),
    "parked": lambda: Glass(
        coverage=0.25, focus=2.0, size=0.018, spread=0.6, contact=50, irregular=0.6, film=0.15, runs=0.6
    ),
    "dome": lambda: Glass(coverage=0.06, focus=0.5, size=0.05, spread=0.5, contact=55, runs=0.2),
    "film": lambda: Glass(coverage=0.0, film=0.7),
    "spray": lambda: Glass(coverage=0.02, focus=5.0, size=0.012, wiper=1.5, film=0.15, spray=0.8),
    "night": lambda: Glass(
        coverage=0.06, focus=6.0, size=0.022, spread=0.5, contact=45, wiper=3.0, film=0.15, glint=3.0
    ),
}  # fmt: skip
"""Name to the function that makes the glass."""


def glass_preset(name: str) -> Glass:
    """The glass of a name in :data:`GLASS_PRESETS`.

    Raises:
        RainError: there is none of that name.
    """
    if name not in GLASS_PRESETS:
        raise RainError(f"glass preset {name!r} is not one of {', '.join(GLASS_PRESETS)}")
    return GLASS_PRESETS[name]()
