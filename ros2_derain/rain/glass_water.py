"""Where the water on a glass is at a time: drops that land, grow, run down, and are wiped.

Everything is a function of seed and time, so that frames can be asked for in any order: a drop's place, size
and moment come from a hash of (seed, number of the drop, how often the glass was wiped or drained there).
Lengths are shares of the image's width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .glass import Glass

LIFE_S = (20.0, 80.0)
"""Shortest and longest time for which a drop stays that no wiper reaches."""

RUN_S = 14.0
"""Seconds from the start of a running drop to the drying of its trail."""

TRAIL_DROPS = 64
TRAIL_STEP = (0.005, 0.45, 0.018)
"""Distance between the drops of a trail: at least, in median diameters, at most."""

STROKE_S = 0.45
"""Longest duration of one stroke of the wiper."""

SPLASH_S = 0.06
"""Seconds in which a drop that lands spreads."""

PIVOT = (0.42, 0.28)
"""The wiper's axis: from the left edge, and below the bottom edge."""

MAX_SWING = np.deg2rad(78.0)
"""Of the wiper, from the vertical."""

_LANDING, _X, _Y, _SIZE, _CONTACT, _STRETCH, _LIFE, _EXTRA = range(8)
_HASH_NUMBER, _HASH_GENERATION = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1342543DE82EF95)
_HASH_SEED, _HASH_COLUMN = 0x2545F4914F6CDD1D, 0xA0761D6478BD642F
_RUNNERS = 1 << 40
"""Numbers of the running drops begin behind those of the others."""


@dataclass(frozen=True)
class Drops:
    """Water at one time, as N drops; those that overlap are one body of water.

    Attributes:
        x, y: centres, in widths.
        radius: geometric mean of the half axes, in widths.
        stretch: height by width.
        sine: of the contact angle.
    """

    x: np.ndarray
    y: np.ndarray
    radius: np.ndarray
    stretch: np.ndarray
    sine: np.ndarray

    def where(self, kept: np.ndarray) -> Drops:
        """The drops of a mask or index."""
        return Drops(self.x[kept], self.y[kept], self.radius[kept], self.stretch[kept], self.sine[kept])

    def joined(self, other: Drops) -> Drops:
        """These and others."""
        return Drops(
            np.concatenate((self.x, other.x)),
            np.concatenate((self.y, other.y)),
            np.concatenate((self.radius, other.radius)),
            np.concatenate((self.stretch, other.stretch)),
            np.concatenate((self.sine, other.sine)),
        )


class Wiper:
    """A blade that swings about an axis below the image, up in one stroke and down in the next.

    Args:
        period: seconds between two strokes, > 0.
        aspect: the image's height by its width.
    """

    def __init__(self, period: float, aspect: float):
        self.period, self.aspect = period, aspect
        self.stroke = min(STROKE_S, 0.6 * period)
        self.outer = aspect + 0.9 * PIVOT[1]

    def polar(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Swing 0..1 at which the blade is at a place (outside: never), and distance from the axis."""
        across, up = x - PIVOT[0], self.aspect + PIVOT[1] - y
        return 0.5 + np.arctan2(across, up) / (2 * MAX_SWING), np.hypot(across, up)

    def reaches(self, swing: np.ndarray, distance: np.ndarray) -> np.ndarray:
        """Whether the blade wipes a place."""
        return (swing >= 0) & (swing <= 1) & (distance <= self.outer)

    def number(self, time_s: float) -> int:
        """Of the last stroke that has begun."""
        return int(np.floor((time_s + self.stroke / 2) / self.period - 0.5))

    def last(self, swing: np.ndarray, time_s: float) -> tuple[np.ndarray, np.ndarray]:
        """Number of the last stroke that has wiped a place, and the seconds since then."""
        number = np.full(np.shape(swing), self.number(time_s))
        since = time_s - self.passes(number, swing)
        early = since < 0
        number = number - early
        return number, np.where(early, time_s - self.passes(number, swing), since)

    def passes(self, number: np.ndarray, swing: np.ndarray) -> np.ndarray:
        """The time at which a stroke wipes a place; time 0 is midway between two strokes."""
        upward = number % 2 == 0
        return (number + 0.5) * self.period + self.stroke * (np.where(upward, swing, 1 - swing) - 0.5)

    def blade(self, time_s: float) -> float | None:
        """Swing 0..1 of the blade in its stroke; None: it rests."""
        number = self.number(time_s)
        progress = (time_s - (number + 0.5) * self.period) / self.stroke + 0.5
        if progress > 1:
            return None
        return progress if number % 2 == 0 else 1 - progress


class Water:
    """The drops on a glass at any time.

    Args:
        glass: the handles.
        aspect: the image's height by its width.
        count: of the places that take up drops.
    """

    def __init__(self, glass: Glass, aspect: float, count: int):
        self.glass, self.aspect, self.count = glass, aspect, count
        self.wiper = Wiper(glass.wiper, aspect) if glass.wiper else None
        self._numbers = np.arange(count, dtype=np.int64)
        least, step, most = TRAIL_STEP
        self._trail = np.clip(step * glass.size, least, most) * np.arange(TRAIL_DROPS)
        self._runners = np.arange(int(np.ceil(glass.runs * RUN_S)), dtype=np.int64)

    def at(self, time_s: float) -> Drops:
        """All water at a time in seconds."""
        standing, landed = self._standing(time_s)
        if self.wiper:
            number = self.wiper.number(time_s)
            for generation in (number, number - 1):
                wiped, when = self._wiped(generation, time_s)
                standing, landed = standing.joined(wiped), np.concatenate((landed, when))
        if not self._runners.size:
            return standing
        running, taken = self._running(time_s, standing, landed)
        return standing.where(~taken).joined(running)

    def _standing(self, time_s: float) -> tuple[Drops, np.ndarray]:
        """Drops beyond the wiper's reach and the time each landed: they come and go one by one."""
        life = LIFE_S[0] + (LIFE_S[1] - LIFE_S[0]) * self._random(self._numbers, 0, _LIFE)
        cycles = time_s / life + self._random(self._numbers, 0, _EXTRA)
        generation = np.floor(cycles).astype(np.int64)
        age = (cycles - generation) * life
        draining = np.clip((life - age) / 0.4, 0, 1)
        drops = self._drops(generation, age, draining * (0.8 + 0.2 * age / life))
        if self.wiper:
            beyond = ~self.wiper.reaches(*self.wiper.polar(drops.x, drops.y))
            return drops.where(beyond), (time_s - age)[beyond]
        return drops, time_s - age

    def _wiped(self, generation: int, time_s: float) -> tuple[Drops, np.ndarray]:
        """Drops that landed after a stroke and before the next one, and the time each landed."""
        assert self.wiper
        numbers = np.full(self.count, generation, np.int64)
        landing = self._random(self._numbers, numbers, _LANDING) * self.wiper.period
        drops = self._drops(numbers, np.zeros(self.count), np.ones(self.count))
        swing, distance = self.wiper.polar(drops.x, drops.y)
        stroke, since = self.wiper.last(swing, time_s)
        kept = self.wiper.reaches(swing, distance) & (stroke == generation) & (since > landing)
        age = (since - landing)[kept]
        drops = drops.where(kept)
        grown = np.minimum(age / SPLASH_S, 1) * (0.9 + 0.1 * age / self.wiper.period)
        drops = Drops(drops.x, drops.y, drops.radius * grown, drops.stretch, drops.sine)
        return drops, time_s - age

    def _drops(self, generation: np.ndarray, age: np.ndarray, growth: np.ndarray) -> Drops:
        """The drops of a generation; ``age`` 0 leaves the splash out."""
        glass = self.glass

        def random(column: int) -> np.ndarray:
            return self._random(self._numbers, generation, column)

        # the sum of a uniform and a triangular variable is close to normal
        normal = (random(_SIZE) + random(_LIFE) + random(_EXTRA) - 1.5) * 2
        splash = np.where(age > 0, np.minimum(age / SPLASH_S, 1), 1)
        contact = np.deg2rad(np.clip(glass.contact * (0.7 + 0.6 * random(_CONTACT)), 3, 85))
        margin = 0.05
        return Drops(
            x=random(_X) * (1 + 2 * margin) - margin,
            y=random(_Y) * (self.aspect + 2 * margin) - margin,
            radius=glass.size / 2 * np.exp(glass.spread * normal) * splash * growth,
            stretch=glass.stretch * np.exp(0.25 * (2 * random(_STRETCH) - 1)),
            sine=np.sin(contact),
        )

    def _running(self, time_s: float, others: Drops, landed: np.ndarray) -> tuple[Drops, np.ndarray]:
        """Running drops with their trails, and which of the others they have taken up."""
        numbers = self._runners + _RUNNERS
        cycles = time_s / RUN_S + self._random(numbers, 0, _LIFE)
        generation = np.floor(cycles).astype(np.int64)
        age = (cycles - generation) * RUN_S

        def random(column: int) -> np.ndarray:
            return self._random(numbers, generation, column)

        radius = self.glass.size / 2 * (0.9 + 0.8 * random(_SIZE))
        speed = 0.04 + 0.3 * random(_LANDING) ** 2
        halts = 0.4 + 1.2 * random(_STRETCH)
        run = speed * (age - 0.9 * halts / (2 * np.pi) * np.sin(2 * np.pi * age / halts))
        start = random(_Y) * 0.7 * self.aspect - 0.05
        drying = np.clip((RUN_S - age) / 3, 0, 1)

        def path(y: np.ndarray) -> np.ndarray:
            """Widths from the left, runners x places."""
            bends = np.sin(y * (9 + 14 * random(_CONTACT)[:, None]) + 6.28 * random(_EXTRA)[:, None])
            bends += 0.4 * np.sin(41 * y + 6.28 * random(_STRETCH)[:, None])
            return np.asarray(random(_X)[:, None] + 0.012 * bends)

        head = start + run
        places = start[:, None] + self._trail
        since = age[:, None] - self._trail / speed[:, None]
        marks = self._random(numbers[:, None] * TRAIL_DROPS + np.arange(TRAIL_DROPS), generation[:, None], _X)
        beads = radius[:, None] * (0.2 + 0.25 * marks) * drying[:, None]
        beads *= np.where(marks > 0.55, 1, np.exp(-np.maximum(since, 0) / 0.7))
        left = (places < head[:, None] - 0.5 * radius[:, None]) & (beads > 0.08 * radius[:, None])
        sine = np.full(len(head), np.sin(np.deg2rad(self.glass.contact)))
        heads = Drops(path(head[:, None])[:, 0], head, radius, np.full(len(head), 1.35), sine)
        stretch = np.where(marks > 0.55, 1.3, 2.2)
        trail = Drops(
            path(places)[left], places[left], beads[left], stretch[left],
            np.broadcast_to(0.8 * sine[:, None], left.shape)[left],
        )  # fmt: skip
        passed = (others.y > start[:, None]) & (others.y < head[:, None])
        near = np.abs(path(np.broadcast_to(others.y, passed.shape)) - others.x) < radius[:, None]
        earlier = landed < (time_s - age[:, None]) + (others.y - start[:, None]) / speed[:, None]
        taken = (passed & near & earlier).any(axis=0)
        running = heads.where(drying > 0).joined(trail)
        if self.wiper:
            began = np.concatenate((time_s - age, (time_s - np.maximum(since, 0))[left]))
            swing, distance = self.wiper.polar(running.x, running.y)
            wiped = self.wiper.reaches(swing, distance) & (time_s - self.wiper.last(swing, time_s)[1] > began)
            running = running.where(~wiped)
        return running, taken

    def _random(self, numbers: np.ndarray, generation: np.ndarray | int, column: int) -> np.ndarray:
        """Uniform 0..1 by a hash (splitmix64) of seed, drop, generation and column."""
        with np.errstate(over="ignore"):
            state = np.asarray(numbers, np.uint64) * _HASH_NUMBER
            state = state + np.asarray(generation, np.int64).astype(np.uint64) * _HASH_GENERATION
            state = state + np.uint64((self.glass.seed * _HASH_SEED + column * _HASH_COLUMN) % 2**64)
            for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
                state = (state ^ (state >> np.uint64(shift))) * np.uint64(factor)
            state ^= state >> np.uint64(31)
        return (state >> np.uint64(11)).astype(np.float64) / 2.0**53
