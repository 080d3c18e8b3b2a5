"""A node's state as a ``diagnostic_msgs/DiagnosticStatus``, and the rules of its level."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from ros2_derain.engine import Mode
from ros2_derain.nodes.statistics import Snapshot

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
        calibration: how the camera's calibration does not fit its images; or ''.
        ahead_s: by how much the latest stamp was ahead of the node's clock [s].
        rain_mm_h: last reading of the gauge [mm/h]; None before the first, NaN when passed through.
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
    calibration: str = ""
    ahead_s: float = 0.0
    rain_mm_h: float | None = None


def judge(condition: Condition) -> tuple[bytes, str]:
    """The level by the most severe rule that is broken, and a message that names every broken one."""
    errors, warnings = list(_errors(condition)), list(_warnings(condition))
    level = DiagnosticStatus.WARN if warnings else DiagnosticStatus.OK
    state = "active" if condition.active else "inactive"
    text = "; ".join(dict.fromkeys([state, *errors, *warnings]))
    return DiagnosticStatus.ERROR if errors else level, text


def _errors(condition: Condition) -> Iterator[str]:
    """Every broken rule of level ERROR."""
    window = condition.counters.window
    if condition.mode is Mode.PASS_THROUGH:
        yield "images pass through unprocessed" + _reason(condition)
    if condition.busy_s > STALL_S:
        yield f"a frame has been processed for {condition.busy_s:.1f} s"
    if condition.duplicate_s > DUPLICATE_S:
        yield DUPLICATE
    yield from _rain_above(ERROR_RAIN_MM_H, condition)
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
    if condition.ahead_s > WARN_AHEAD_S:
        yield f"stamps are {condition.ahead_s:.1f} s ahead of this clock: synchronise the clocks"
    yield from _rain_above(WARN_RAIN_MM_H, condition)


def _idle_after(seconds: float, condition: Condition) -> Iterator[str]:
    idle_s = condition.counters.idle_s
    if condition.active and idle_s > seconds:
        yield f"no frame for {idle_s:.1f} s"


def _rain_above(rate_mm_h: float, condition: Condition) -> Iterator[str]:
    rate = condition.rain_mm_h
    if rate is not None and rate > rate_mm_h:
        yield f"rain of {rate:.0f} mm/h"


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
    if condition.rain_mm_h is not None:
        yield "rain_rate_mm_h", f"{condition.rain_mm_h:.2f}"


def _per_second(events: int, seconds: float) -> str:
    return f"{events / seconds:.1f}" if seconds > 0 else "0.0"
