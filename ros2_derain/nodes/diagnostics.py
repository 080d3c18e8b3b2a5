"""A node's state as a ``diagnostic_msgs/DiagnosticStatus``, and the rules of its level."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
"""Another publisher of the node's output is an error after this long: DDS forgets a process that
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


@dataclass(frozen=True)
class Condition:
    """What the rules look at.

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


@dataclass(frozen=True)
class Rule:
    """``broken`` describes what is wrong; empty where nothing is."""

    level: bytes
    broken: Callable[[Condition], str]


def _idle(after_s: float) -> Callable[[Condition], str]:
    def broken(condition: Condition) -> str:
        idle = condition.counters.idle_s
        return f"no frame for {idle:.1f} s" if condition.active and idle > after_s else ""

    return broken


def _dropping(condition: Condition) -> str:
    window = condition.counters.window
    dropped = sum(window.dropped.values())
    if dropped <= WARN_DROPPED * window.received:
        return ""
    causes = ", ".join(f"{cause} {count}" for cause, count in sorted(window.dropped.items()))
    return f"{dropped} of {window.received} frames dropped: {causes}"


def _all_refused(condition: Condition) -> str:
    window = condition.counters.window
    causes = [cause for cause in window.dropped if cause.startswith("refused.")]
    refused = sum(window.dropped[cause] for cause in causes)
    if not refused or refused < window.received:
        return ""
    return f"every frame is refused: {', '.join(sorted(causes)).replace('refused.', '')}"


def _below_configured(condition: Condition) -> str:
    if condition.mode not in (Mode.ONE_ITERATION, Mode.DERAIN_ONLY):
        return ""
    return f"mode is {condition.mode.value}" + (f": {condition.fault}" if condition.fault else "")


def _passing_through(condition: Condition) -> str:
    if condition.mode is not Mode.PASS_THROUGH:
        return ""
    return "images pass through unprocessed" + (f": {condition.fault}" if condition.fault else "")


def _late(condition: Condition) -> str:
    age, budget = condition.counters.age, condition.budget_ms
    if not budget or age is None or age.p95 <= budget:
        return ""
    return f"frames are {age.p95:.0f} ms old (p95), above the budget of {budget:g} ms"


def _priors_missing(condition: Condition) -> str:
    window = condition.counters.window
    missed = window.counts.get("priors_missed", 0)
    if missed <= WARN_DROPPED * window.published:
        return ""
    return f"{missed} of {window.published} frames went on without a semantic prior"


def _stalled(condition: Condition) -> str:
    busy = condition.busy_s
    return f"a frame has been processed for {busy:.1f} s" if busy > STALL_S else ""


def _duplicated(after_s: float) -> Callable[[Condition], str]:
    def broken(condition: Condition) -> str:
        if condition.duplicate_s <= after_s:
            return ""
        return "another node publishes the same outputs: is it running twice?"

    return broken


def _excluded(condition: Condition) -> str:
    return condition.incompatible if condition.active and condition.counters.idle_s > WARN_AFTER_S else ""


def _frozen(condition: Condition) -> str:
    same = condition.identical_images
    return f"the camera is frozen: the same image {same} times" if same >= FROZEN_AFTER else ""


def _without_stamps(condition: Condition) -> str:
    if condition.unusable_stamps < UNUSABLE_STAMPS:
        return ""
    return "stamps are 0 or do not advance: time between frames is that of reception; set them in the driver"


def _uncalibrated(condition: Condition) -> str:
    return condition.calibration


def _ahead(condition: Condition) -> str:
    ahead = condition.ahead_s
    if ahead <= WARN_AHEAD_S:
        return ""
    return f"stamps are {ahead:.1f} s ahead of this clock: synchronise the clocks"


def _raining(above_mm_h: float) -> Callable[[Condition], str]:
    def broken(condition: Condition) -> str:
        rate = condition.rain_mm_h
        return f"rain of {rate:.0f} mm/h" if rate is not None and rate > above_mm_h else ""

    return broken


RULES = (
    Rule(DiagnosticStatus.ERROR, _passing_through),
    Rule(DiagnosticStatus.ERROR, _stalled),
    Rule(DiagnosticStatus.ERROR, _duplicated(DUPLICATE_S)),
    Rule(DiagnosticStatus.ERROR, _raining(ERROR_RAIN_MM_H)),
    Rule(DiagnosticStatus.ERROR, _all_refused),
    Rule(DiagnosticStatus.ERROR, _idle(ERROR_AFTER_S)),
    Rule(DiagnosticStatus.WARN, _idle(WARN_AFTER_S)),
    Rule(DiagnosticStatus.WARN, _below_configured),
    Rule(DiagnosticStatus.WARN, _dropping),
    Rule(DiagnosticStatus.WARN, _late),
    Rule(DiagnosticStatus.WARN, _priors_missing),
    Rule(DiagnosticStatus.WARN, _excluded),
    Rule(DiagnosticStatus.WARN, _duplicated(0.0)),
    Rule(DiagnosticStatus.WARN, _frozen),
    Rule(DiagnosticStatus.WARN, _without_stamps),
    Rule(DiagnosticStatus.WARN, _uncalibrated),
    Rule(DiagnosticStatus.WARN, _ahead),
    Rule(DiagnosticStatus.WARN, _raining(WARN_RAIN_MM_H)),
)
"""All rules; the most severe broken one gives the level, and every broken one is named."""


def judge(condition: Condition) -> tuple[bytes, str]:
    """The level and the message by the rules."""
    broken = [(rule.level, text) for rule in RULES if (text := rule.broken(condition))]
    level = max((level for level, _ in broken), default=DiagnosticStatus.OK)
    state = "active" if condition.active else "inactive"
    return level, "; ".join(dict.fromkeys([state, *(text for _, text in broken)]))


def status(name: str, hardware: str, condition: Condition, facts: dict[str, str]) -> DiagnosticStatus:
    """The message about one node.

    Args:
        name: the node's name.
        hardware: what it runs on.
        condition: what the rules look at.
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
    yield "rate_in_hz", _per_second(counters.window.received, counters.window.seconds)
    yield "rate_out_hz", _per_second(counters.window.published, counters.window.seconds)
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
