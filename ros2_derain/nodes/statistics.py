"""Counters of every frame: drops by cause, rates, latencies. No ROS in here.

Once no frame is being processed or waiting,
``received == published + sum(dropped.values())``.
"""

from __future__ import annotations

import copy
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


@dataclass
class Counts:
    """Frames and events over some time.

    Attributes:
        received, published: frames; those that were overwritten are among the received.
        dropped: frames by cause.
        counts: other events by name.
    """

    received: int = 0
    published: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)

    def since(self, before: Counts) -> Counts:
        """What was added to an earlier state of these counts."""
        return Counts(
            self.received - before.received,
            self.published - before.published,
            self.dropped - before.dropped,
            self.counts - before.counts,
        )


@dataclass
class Snapshot(Counts):
    """The counts at one moment, since activation.

    Attributes:
        latency: milliseconds by stage, of the latest :data:`SAMPLES` frames.
        age: milliseconds from stamp to publication; None before the first frame.
        idle_s: seconds since the last frame came, or since activation.
        window: what was added since the previous snapshot.
        window_s: seconds since the previous snapshot.
    """

    latency: Mapping[str, Percentiles] = field(default_factory=dict)
    age: Percentiles | None = None
    idle_s: float = 0.0
    window: Counts = field(default_factory=Counts)
    window_s: float = 0.0


class Statistics:
    """The counters of one node since its activation. Safe to use from any thread.

    Args:
        events: names that are listed among the counts before they first happen.
    """

    def __init__(self, events: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()
        self._totals = Counts(counts=Counter(dict.fromkeys(events, 0)))
        self._before = Counts()
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
            now, totals = time.monotonic(), copy.deepcopy(self._totals)
            before, since = self._before, self._last_snapshot
            self._before, self._last_snapshot = totals, now
            return Snapshot(
                **vars(totals),
                latency={name: Percentiles.of(times) for name, times in self._latency.items()},
                age=Percentiles.of(self._age) if self._age else None,
                idle_s=now - self._last_frame,
                window=totals.since(before),
                window_s=now - since,
            )
