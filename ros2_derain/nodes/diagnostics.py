"""A node's state as a ``diagnostic_msgs/DiagnosticStatus``, and the rules of its level."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from ros2_derain.engine import Mode
from ros2_derain.nodes.statistics import Snapshot

WARN_AFTER_S = 1.0
"""An active node without a frame for this long warns ..."""
ERROR_AFTER_S = 5.0
"""... and for this long reports an error."""
STALL_S = 2.0
"""A frame that is worked on for longer is an error."""
RIVAL_S = 30.0
"""Another publisher of the node's output is an error after this long: DDS forgets a process that
died after 20 s."""
SAME_PICTURES = 10
"""So many pictures in a row that are equal to the last byte: the camera is frozen."""
WARN_AHEAD_S = 0.5
"""Stamps that are further ahead of the node's clock warn."""
WARN_RAIN_MM_H, ERROR_RAIN_MM_H = 50.0, 100.0
"""What the gauge reads; it reads low in the heaviest rain, and 100 stands for 150 mm/h and more."""
WARN_DROPPED = 0.10
"""Share of a window's frames; if more are dropped the node warns."""


@dataclass(frozen=True)
class Health:
    """What the rules look at besides frames.

    Attributes:
        busy_s: how long the present frame has been worked on [s]; 0: none is.
        incompatible: in words, a publisher of an input that the node cannot hear; or ''.
        rival_s: how long another publisher of the node's output has been there [s]; 0: none is.
        same_pictures: how many of the latest pictures were equal to the one before.
        ahead_s: by how much the latest stamp was ahead of the node's clock [s].
        rain_mm_h: what the gauge last read [mm/h]; NaN: nothing.
    """

    busy_s: float = 0.0
    incompatible: str = ""
    rival_s: float = 0.0
    same_pictures: int = 0
    ahead_s: float = 0.0
    rain_mm_h: float = math.nan


@dataclass(frozen=True)
class Condition:
    """What the rules look at.

    Attributes:
        books: frames, drops, latencies.
        active: the node's lifecycle state.
        mode: how the last frame was processed; None where the node has no modes.
        fault: why the ladder last stepped down, or ''.
        budget_ms: the time that a frame may take; 0: any.
        health: the rest.
    """

    books: Snapshot
    active: bool
    mode: Mode | None = None
    fault: str = ""
    budget_ms: float = 0.0
    health: Health = Health()


@dataclass(frozen=True)
class Rule:
    """``broken`` says in words what is wrong, or nothing where all is well."""

    level: bytes
    broken: Callable[[Condition], str]


def _starved(after_s: float) -> Callable[[Condition], str]:
    def broken(condition: Condition) -> str:
        idle = condition.books.idle_s
        return f"no frame for {idle:.1f} s" if condition.active and idle > after_s else ""

    return broken


def _dropping(condition: Condition) -> str:
    window = condition.books.window
    dropped = sum(window.dropped.values())
    if dropped <= WARN_DROPPED * window.received:
        return ""
    causes = ", ".join(f"{cause} {count}" for cause, count in sorted(window.dropped.items()))
    return f"{dropped} of {window.received} frames dropped: {causes}"


def _all_refused(condition: Condition) -> str:
    window = condition.books.window
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
    age, budget = condition.books.age, condition.budget_ms
    if not budget or age is None or age.p95 <= budget:
        return ""
    return f"frames are {age.p95:.0f} ms old (p95), above the budget of {budget:g} ms"


def _priors_missing(condition: Condition) -> str:
    window = condition.books.window
    missed = window.counts.get("priors_missed", 0)
    if missed <= WARN_DROPPED * window.published:
        return ""
    return f"{missed} of {window.published} frames went on without a semantic prior"


def _stalled(condition: Condition) -> str:
    busy = condition.health.busy_s
    return f"a frame has been worked on for {busy:.1f} s" if busy > STALL_S else ""


def _rivalled(after_s: float) -> Callable[[Condition], str]:
    def broken(condition: Condition) -> str:
        if condition.health.rival_s <= after_s:
            return ""
        return "somebody else publishes this node's outputs: is it running twice?"

    return broken


def _deaf(condition: Condition) -> str:
    return condition.health.incompatible if condition.active and condition.books.idle_s > WARN_AFTER_S else ""


def _frozen(condition: Condition) -> str:
    same = condition.health.same_pictures
    return f"the camera is frozen: {same} times the same picture" if same >= SAME_PICTURES else ""


def _ahead(condition: Condition) -> str:
    ahead = condition.health.ahead_s
    if ahead <= WARN_AHEAD_S:
        return ""
    return f"stamps are {ahead:.1f} s ahead of this clock: synchronise the clocks"


def _raining(above_mm_h: float) -> Callable[[Condition], str]:
    def broken(condition: Condition) -> str:
        rate = condition.health.rain_mm_h
        return f"rain of {rate:.0f} mm/h" if rate > above_mm_h else ""

    return broken


RULES = (
    Rule(DiagnosticStatus.ERROR, _passing_through),
    Rule(DiagnosticStatus.ERROR, _stalled),
    Rule(DiagnosticStatus.ERROR, _rivalled(RIVAL_S)),
    Rule(DiagnosticStatus.ERROR, _raining(ERROR_RAIN_MM_H)),
    Rule(DiagnosticStatus.ERROR, _all_refused),
    Rule(DiagnosticStatus.ERROR, _starved(ERROR_AFTER_S)),
    Rule(DiagnosticStatus.WARN, _starved(WARN_AFTER_S)),
    Rule(DiagnosticStatus.WARN, _below_configured),
    Rule(DiagnosticStatus.WARN, _dropping),
    Rule(DiagnosticStatus.WARN, _late),
    Rule(DiagnosticStatus.WARN, _priors_missing),
    Rule(DiagnosticStatus.WARN, _deaf),
    Rule(DiagnosticStatus.WARN, _rivalled(0.0)),
    Rule(DiagnosticStatus.WARN, _frozen),
    Rule(DiagnosticStatus.WARN, _ahead),
    Rule(DiagnosticStatus.WARN, _raining(WARN_RAIN_MM_H)),
)
"""Every rule there is; the worst broken one gives the level, and names the cause."""


def judge(condition: Condition) -> tuple[bytes, str]:
    """The level and the message that the rules give."""
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
    books = condition.books
    yield "frames_received", str(books.received)
    yield "frames_published", str(books.published)
    for cause, frames in sorted(books.dropped.items()):
        yield f"dropped.{cause}", str(frames)
    for event, times in sorted(books.counts.items()):
        yield event, str(times)
    yield "rate_in_hz", _per_second(books.window.received, books.window.seconds)
    yield "rate_out_hz", _per_second(books.window.published, books.window.seconds)
    yield "idle_s", f"{books.idle_s:.1f}"
    spans = {f"latency_ms.{stage}": times for stage, times in books.latency.items()}
    if books.age:
        spans["age_ms"] = books.age
    for span, percentiles in spans.items():
        for percentile, milliseconds in asdict(percentiles).items():
            yield f"{span}.{percentile}", f"{milliseconds:.2f}"
    if condition.mode is not None:
        yield "mode", condition.mode.value


def _per_second(events: int, seconds: float) -> str:
    return f"{events / seconds:.1f}" if seconds > 0 else "0.0"
