"""Counters of every frame: drops by cause, rates, latencies. No ROS in here.

Once no frame is being processed or waiting,
``received == published + sum(dropped.values())``.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

SAMPLES = 600
"""Number of latest frames that the percentiles are taken of."""


@dataclass(frozen=True)
class Percentiles:
    """The 50th, 95th and 99th percentile and the maximum of durations in milliseconds."""

    p50: float
    p95: float
    p99: float
    max: float

    @classmethod
    def of(cls, samples: deque[float]) -> Percentiles:
        """Of at least one sample."""
        return cls(*(float(value) for value in np.percentile(samples, (50, 95, 99, 100))))


@dataclass(frozen=True)
class Window:
    """What happened between two snapshots.

    Attributes:
        seconds: how long it was.
        received, published: frames.
        dropped: frames by cause.
        counts: other events by name.
    """

    seconds: float
    received: int
    published: int
    dropped: Mapping[str, int]
    counts: Mapping[str, int]


@dataclass(frozen=True)
class Snapshot:
    """The counters at one moment.

    Attributes:
        received, published: frames since activation; those that were overwritten are among the received.
        dropped: frames by cause, since activation.
        counts: other events by name, since activation.
        latency: milliseconds by stage, of the latest :data:`SAMPLES` frames.
        age: milliseconds from stamp to publication; None before the first frame.
        idle_s: seconds since the last frame came, or since activation.
        window: what happened since the previous snapshot.
    """

    received: int
    published: int
    dropped: Mapping[str, int]
    counts: Mapping[str, int]
    latency: Mapping[str, Percentiles]
    age: Percentiles | None
    idle_s: float
    window: Window


@dataclass
class _Totals:
    received: int = 0
    published: int = 0
    dropped: Counter = field(default_factory=Counter)
    counts: Counter = field(default_factory=Counter)

    def copy(self) -> _Totals:
        return _Totals(self.received, self.published, self.dropped.copy(), self.counts.copy())


class Statistics:
    """The counters of one node since its activation. Safe to use from any thread.

    Args:
        events: names that are listed among the counts before they first happen.
    """

    def __init__(self, events: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()
        self._totals = _Totals(counts=Counter(dict.fromkeys(events, 0)))
        self._before = _Totals()
        self._latency: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=SAMPLES))
        self._age: deque[float] = deque(maxlen=SAMPLES)
        self._last_frame = self._last_snapshot = time.monotonic()

    def received(self) -> None:
        """A frame was received."""
        with self._lock:
            self._totals.received += 1
            self._last_frame = time.monotonic()

    def overwritten(self, frames: int) -> None:
        """Frames were sent, but overwritten by newer ones before they were received."""
        with self._lock:
            self._totals.received += frames
            self._totals.dropped["overwritten"] += frames

    def published(self, milliseconds: Mapping[str, float], age_ms: float) -> None:
        """A frame was published: its milliseconds by stage, and its age since the stamp."""
        with self._lock:
            self._totals.published += 1
            for stage, duration in milliseconds.items():
                self._latency[stage].append(duration)
            self._age.append(age_ms)

    def dropped(self, cause: str, frames: int = 1) -> None:
        """Frames were not published, because of ``cause``."""
        with self._lock:
            self._totals.dropped[cause] += frames

    def count(self, event: str) -> None:
        """Another event happened."""
        with self._lock:
            self._totals.counts[event] += 1

    def snapshot(self) -> Snapshot:
        """The counters now; the next window begins here."""
        with self._lock:
            now, totals, before = time.monotonic(), self._totals.copy(), self._before
            window = Window(
                seconds=now - self._last_snapshot,
                received=totals.received - before.received,
                published=totals.published - before.published,
                dropped=totals.dropped - before.dropped,
                counts=totals.counts - before.counts,
            )
            self._before, self._last_snapshot = totals, now
            return Snapshot(
                received=totals.received,
                published=totals.published,
                dropped=totals.dropped,
                counts=totals.counts,
                latency={name: Percentiles.of(times) for name, times in self._latency.items()},
                age=Percentiles.of(self._age) if self._age else None,
                idle_s=now - self._last_frame,
                window=window,
            )
