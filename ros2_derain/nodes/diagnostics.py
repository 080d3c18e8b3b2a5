"""A node's counters and state, the rules of its diagnostics' level, and the message.

Once no frame is being processed or waiting, ``received == published + sum(dropped.values())``.
"""

from __future__ import annotations

import copy
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from ros2_derain.engine import Mode, View

SAMPLES = 600
"""Number of latest frames that the percentiles are taken of."""

WARN_AFTER_S = 1.0
"""An active node without a frame for this long warns,"""
ERROR_AFTER_S = 5.0
"""and for this long reports an error."""
STALL_S = 2.0
"""A frame that takes longer is an error."""
DUPLICATE_S = 30.0
"""Another publisher of the node's output is an error after this long: DDS drops a process that
died after 20 s."""
FROZEN_AFTER = 10
"""This many images in a row that are equal to the last byte: the camera is frozen."""
UNUSABLE_STAMPS = 3
"""This many frames in a row whose stamps are 0 or do not advance warn."""
WARN_AHEAD_S = 0.5
"""Stamps that are further ahead of the node's clock warn."""
WARN_RAIN_MM_H, ERROR_RAIN_MM_H = 50.0, 100.0
"""Readings of the gauge; it reads low in the heaviest rain: 100 stands for 150 mm/h and more."""
WARN_DROPPED = 0.10
"""Share of a window's frames; if more are dropped the node warns."""

DUPLICATE = "another node publishes the same outputs: is it running twice?"
UNUSABLE = "stamps are 0 or do not advance: time between frames is that of reception; set them in the driver"


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


@dataclass(frozen=True)
class ViewLimits:
    """Shares 0..1 from which on the view is reported.

    Attributes:
        coverage_warn, coverage_error: covered by water on the glass.
        contrast_loss_warn: of the contrast.
        dirt_warn: hidden by dirt.
    """

    coverage_warn: float = 0.02
    coverage_error: float = 0.20
    contrast_loss_warn: float = 0.5
    dirt_warn: float = 0.01


@dataclass(frozen=True)
class Condition:
    """Input of the rules.

    Attributes:
        counters: frames, drops, latencies.
        active: the node's lifecycle state.
        mode: how the last frame was processed; None where the node has no modes.
        fault: why the ladder last stepped down, or ''.
        budget_ms: time budget of a frame; 0: none.
        busy_s: how long the current frame has been processed [s]; 0: there is none.
        incompatible: description of a publisher whose quality of service excludes the node; or ''.
        duplicate_s: how long another publisher of the node's outputs has been there [s]; 0: none.
        identical_images: how many of the latest images were equal to the one before.
        unusable_stamps: how many of the latest frames had a stamp of 0 or that of the frame before.
        camera_info: size of the camera's calibration, or ``missing``; '' where the node has no camera.
        calibration: how the calibration does not fit the images; or ''.
        ahead_s: by how much the latest stamp was ahead of the node's clock [s].
        problems: what keeps the node from publishing everything, a sentence each.
        rain_mm_h: last reading of the gauge [mm/h]; None before the first, NaN when passed through.
        view: what the camera did not see in the last frame; None before the first.
        view_limits: from which shares on that is reported.
        hidden: shares of sky and road that water or dirt hid in the last frame.
    """

    counters: Snapshot
    active: bool
    mode: Mode | None = None
    fault: str = ""
    budget_ms: float = 0.0
    busy_s: float = 0.0
    incompatible: str = ""
    duplicate_s: float = 0.0
    identical_images: int = 0
    unusable_stamps: int = 0
    camera_info: str = ""
    calibration: str = ""
    ahead_s: float = 0.0
    problems: tuple[str, ...] = ()
    rain_mm_h: float | None = None
    view: View | None = None
    view_limits: ViewLimits = ViewLimits()
    hidden: Mapping[str, float] = field(default_factory=dict)


def judge(condition: Condition) -> tuple[bytes, str]:
    """The level by the most severe rule that is broken, and a message that names every broken one."""
    errors, warnings = list(_errors(condition)), list(_warnings(condition))
    level = DiagnosticStatus.WARN if warnings else DiagnosticStatus.OK
    state = "active" if condition.active else "inactive"
    text = "; ".join(dict.fromkeys([state, *errors, *warnings]))
    return DiagnosticStatus.ERROR if errors else level, text


def _errors(condition: Condition) -> Iterator[str]:
    """Every broken rule of level ERROR."""
    window, view = condition.counters.window, condition.view
    if condition.mode is Mode.PASS_THROUGH:
        yield "images pass through unprocessed" + _reason(condition)
    if condition.busy_s > STALL_S:
        yield f"a frame has been processed for {condition.busy_s:.1f} s"
    if condition.duplicate_s > DUPLICATE_S:
        yield DUPLICATE
    yield from _rain_above(ERROR_RAIN_MM_H, condition)
    if view and view.coverage > condition.view_limits.coverage_error:
        yield _covered(view)
    refused = {cause: frames for cause, frames in window.dropped.items() if cause.startswith("refused.")}
    if refused and sum(refused.values()) >= window.received:
        yield f"every frame is refused: {', '.join(sorted(refused)).replace('refused.', '')}"
    yield from _idle_after(ERROR_AFTER_S, condition)


def _warnings(condition: Condition) -> Iterator[str]:
    """Every broken rule of level WARN; what is an error as well has the same text there."""
    counters, window, budget_ms = condition.counters, condition.counters.window, condition.budget_ms
    yield from _idle_after(WARN_AFTER_S, condition)
    if condition.mode in (Mode.ONE_ITERATION, Mode.DERAIN_ONLY):
        yield f"mode is {condition.mode.value}" + _reason(condition)
    dropped = sum(window.dropped.values())
    if dropped > WARN_DROPPED * window.received:
        causes = ", ".join(f"{cause} {count}" for cause, count in sorted(window.dropped.items()))
        yield f"{dropped} of {window.received} frames dropped: {causes}"
    if budget_ms and counters.age and counters.age.p95 > budget_ms:
        yield f"frames are {counters.age.p95:.0f} ms old (p95), above the budget of {budget_ms:g} ms"
    missed = window.counts["priors_missed"]
    if missed > WARN_DROPPED * window.published:
        yield f"{missed} of {window.published} frames went on without a semantic prior"
    if condition.incompatible and condition.active and counters.idle_s > WARN_AFTER_S:
        yield condition.incompatible
    if condition.duplicate_s > 0:
        yield DUPLICATE
    if condition.identical_images >= FROZEN_AFTER:
        yield f"the camera is frozen: the same image {condition.identical_images} times"
    if condition.unusable_stamps >= UNUSABLE_STAMPS:
        yield UNUSABLE
    if condition.calibration:
        yield condition.calibration
    yield from condition.problems
    if condition.ahead_s > WARN_AHEAD_S:
        yield f"stamps are {condition.ahead_s:.1f} s ahead of this clock: synchronise the clocks"
    yield from _rain_above(WARN_RAIN_MM_H, condition)
    yield from _obstructed(condition)


def _idle_after(seconds: float, condition: Condition) -> Iterator[str]:
    idle_s = condition.counters.idle_s
    if condition.active and idle_s > seconds:
        yield f"no frame for {idle_s:.1f} s"


def _rain_above(rate_mm_h: float, condition: Condition) -> Iterator[str]:
    rate = condition.rain_mm_h
    if rate is not None and rate > rate_mm_h:
        yield f"rain of {rate:.0f} mm/h"


def _obstructed(condition: Condition) -> Iterator[str]:
    view, limits = condition.view, condition.view_limits
    if view is None:
        return
    if view.coverage >= limits.coverage_warn:
        yield _covered(view)
    if view.dirt >= limits.dirt_warn:
        yield f"{_percent(view.dirt)} of the view is hidden by what does not move: clean the lens of dirt"
    if view.contrast_loss >= limits.contrast_loss_warn:
        yield f"{_percent(view.contrast_loss)} of the contrast is lost: water film, spray or fog"


def _covered(view: View) -> str:
    return f"{_percent(view.coverage)} of the view is covered by water: wipe the lens"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _reason(condition: Condition) -> str:
    return f": {condition.fault}" if condition.fault else ""


def status(name: str, hardware: str, condition: Condition, facts: dict[str, str]) -> DiagnosticStatus:
    """The message about one node.

    Args:
        name: the node's name.
        hardware: what it runs on.
        condition: input of the rules.
        facts: further keys and values, such as the model's identity.
    """
    level, message = judge(condition)
    values = {**dict(_values(condition)), **facts}
    return DiagnosticStatus(
        level=level,
        name=f"{name}: pipeline",
        message=message,
        hardware_id=hardware,
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )


def _values(condition: Condition) -> Iterator[tuple[str, str]]:
    counters = condition.counters
    yield "frames_received", str(counters.received)
    yield "frames_published", str(counters.published)
    for cause, frames in sorted(counters.dropped.items()):
        yield f"dropped.{cause}", str(frames)
    for event, times in sorted(counters.counts.items()):
        yield event, str(times)
    yield "rate_in_hz", _per_second(counters.window.received, counters.window_s)
    yield "rate_out_hz", _per_second(counters.window.published, counters.window_s)
    yield "idle_s", f"{counters.idle_s:.1f}"
    spans = {f"latency_ms.{stage}": times for stage, times in counters.latency.items()}
    if counters.age:
        spans["age_ms"] = counters.age
    for span, percentiles in spans.items():
        for percentile, milliseconds in asdict(percentiles).items():
            yield f"{span}.{percentile}", f"{milliseconds:.2f}"
    if condition.mode is not None:
        yield "mode", condition.mode.value
    if condition.camera_info:
        yield "camera_info", condition.camera_info
    if condition.rain_mm_h is not None:
        yield "rain_rate_mm_h", f"{condition.rain_mm_h:.2f}"
    view, hidden = condition.view, condition.hidden
    if view is not None:
        yield "glass_coverage", f"{view.coverage:.4f}"
        yield "contrast_loss", f"{view.contrast_loss:.4f}"
        yield "dirt", f"{view.dirt:.4f}"
        hidden = view.hidden
    for region, share in hidden.items():
        yield f"hidden.{region}", f"{share:.4f}"


def _per_second(events: int, seconds: float) -> str:
    return f"{events / seconds:.1f}" if seconds > 0 else "0.0"
