"""More frames than the machine can do, and frames for hours: rates, ages, memory, threads."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from ros2_derain.evaluation.drill.faults import Fault, Seen
from ros2_derain.evaluation.drill.stage import BACK_S, Shortfall, Stage, composed
from ros2_derain.nodes import topics

FACTORS = (1, 2, 1, 5, 1, 20, 1)
"""How many times what the machine can do, in this order: each load stands between two windows of 1x."""
SHORT_S, LONG_S = 15.0, 120.0
RATE_KEPT = 0.9
MEMORY_KEPT = 1.05
"""In a short form; an hour's soak is held to :data:`SOAK_MEMORY`."""
SOAK_MEMORY = 1.01
SOAK_LATENCY = 1.1
SOAK_LOAD = 0.8
"""Share of its capacity that the machine is given in a soak."""
SETTLED = 0.1
"""Share of a soak after which memory must have settled."""


@dataclass(frozen=True)
class Process:
    """What Linux says of a process.

    Attributes:
        rss_mb: memory that is its own or shared and mapped.
        threads: how many it has.
    """

    rss_mb: float
    threads: int

    @classmethod
    def read(cls, pid: int) -> Process:
        """Of a process that lives."""
        lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        return cls(int(lines["VmRSS"].split()[0]) / 1024, int(lines["Threads"]))


@dataclass(frozen=True)
class Window:
    """A while under one load.

    Attributes:
        rate: clean images per second.
        age_s: p95 of the clean images' time from being sent to being heard.
        compute_s: p95 of their compute time.
        memory_mb: of the pipeline's process, at the end.
        uncounted: frames that were sent and are in none of derain_node's counters.
    """

    rate: float
    age_s: float
    compute_s: float
    memory_mb: float
    uncounted: int


def overload(stage: Stage, seconds: float = SHORT_S) -> Seen:
    """2 to 20 times what the machine can do, each between two windows of what it can do.

    A machine that others use too changes its speed within minutes: each load is held against
    the mean of the windows before and after it.
    """
    usual, capacity = stage.fps, stage.capacity(15)
    windows = []
    stage.settle()
    try:
        for factor in FACTORS:
            stage.fps = factor * capacity
            windows.append(_window(stage, seconds))
    finally:
        stage.fps = usual
    return Seen(withstood(windows, capacity), stage.recovery(BACK_S))


def withstood(windows: Sequence[Window], capacity: float) -> str:
    """What the windows of :func:`overload` showed.

    Args:
        windows: one for each of :data:`FACTORS`.
        capacity: frames per second that the machine can do.

    Raises:
        Shortfall: the rate fell, frames queued or were not counted, or memory grew.
    """
    single, loaded = windows[::2], windows[1::2]
    usual = [(before.rate + after.rate) / 2 for before, after in pairwise(single)]
    kept = [window.rate / rate for window, rate in zip(loaded, usual, strict=True)]
    rates = ", ".join(
        f"{factor}x: {window.rate:.1f}/s ({share:.0%})"
        for factor, window, share in zip(FACTORS[1::2], loaded, kept, strict=True)
    )
    memory = [window.memory_mb for window in windows]
    text = (
        f"1x: {min(w.rate for w in single):.1f} to {max(w.rate for w in single):.1f}/s, {rates}; "
        f"oldest (p95) {1e3 * max(w.age_s for w in windows):.0f} ms; "
        f"memory {memory[0]:.0f} -> {memory[-1]:.0f} MB"
    )
    for factor, window in zip(FACTORS, windows, strict=True):
        limit = 2 / capacity + window.compute_s
        if window.age_s > limit:
            raise Shortfall(
                f"at {factor}x frames came out {1e3 * window.age_s:.0f} ms old (p95), "
                f"over {1e3 * limit:.0f}: {text}"
            )
    uncounted = [window.uncounted for window in windows]
    if any(uncounted):
        raise Shortfall(f"of the frames {uncounted} were not counted: {text}")
    if min(kept) < RATE_KEPT:
        raise Shortfall(f"the output rate fell below {RATE_KEPT:.0%} of that at 1x: {text}")
    if memory[-1] > MEMORY_KEPT * memory[0]:
        raise Shortfall(f"memory grew: {text}")
    return text


def overload_for_minutes(stage: Stage) -> Seen:
    """As :func:`overload`, two minutes for each window."""
    return overload(stage, LONG_S)


def soak(stage: Stage, minutes: float) -> Seen:
    """Frames at a steady rate; memory, threads and latency must not creep."""
    stage.fps = SOAK_LOAD * stage.capacity(15)
    pid, end = stage.children["pipeline"].pid, time.monotonic() + 60 * minutes
    samples: list[tuple[Process, float]] = []
    while time.monotonic() < end:
        stage.probe.forget()
        sent = stage.drive_for(min(5.0, 60 * minutes / 20))
        ages = _ages(stage, sent)
        if not ages:
            raise Shortfall("no frame came out any more")
        samples.append((Process.read(pid), float(np.percentile(ages, 99))))
    return judged(samples, minutes)


def judged(samples: list[tuple[Process, float]], minutes: float) -> Seen:
    """Hold the last sixth of a soak against the first after it had settled.

    Args:
        samples: the process, and the p99 age of clean images in seconds, at even times.
        minutes: how long the soak was.

    Raises:
        Shortfall: memory, latency or threads crept.
    """
    part = max(1, len(samples) // 6)
    kept = samples[int(SETTLED * len(samples)) :]
    first, last = kept[:part], kept[-part:]
    memory = [np.median([process.rss_mb for process, _ in some]) for some in (first, last)]
    latency = [np.median([age for _, age in some]) for some in (first, last)]
    threads = [process.threads for process, _ in kept]
    text = (
        f"{minutes:g} min: memory {memory[0]:.1f} -> {memory[1]:.1f} MB, p99 {1e3 * latency[0]:.1f} -> "
        f"{1e3 * latency[1]:.1f} ms, {min(threads)} to {max(threads)} threads"
    )
    if memory[1] > SOAK_MEMORY * memory[0] or latency[1] > SOAK_LATENCY * latency[0]:
        raise Shortfall(text)
    if max(threads) > threads[0]:
        raise Shortfall(f"threads were added: {text}")
    return Seen(text)


def _window(stage: Stage, seconds: float) -> Window:
    """Send at the stage's pace for so long."""
    stage.probe.forget()
    published, received = stage.counted("frames_published"), stage.counted("frames_received")
    began = time.monotonic()
    sent = stage.drive_for(seconds)
    spent = time.monotonic() - began
    if not stage.settle():
        raise Shortfall("the books of derain_node do not balance")
    ages = _ages(stage, sent)
    if not ages:
        raise Shortfall("no frame came out")
    status = stage.probe.status["derain_node"]
    compute_ms = sum(status.number(f"latency_ms.{of}.p95") for of in ("gate", "derain", "parse", "decode"))
    return Window(
        rate=(stage.counted("frames_published") - published) / spent,
        age_s=float(np.percentile(ages, 95)),
        compute_s=compute_ms / 1e3,
        memory_mb=Process.read(stage.children["pipeline"].pid).rss_mb,
        uncounted=len(sent) - (stage.counted("frames_received") - received),
    )


def _ages(stage: Stage, sent: list[int]) -> list[float]:
    """Seconds from sending to the clean image, of those frames that came out."""
    wanted = set(sent)
    answers = stage.probe.answers[topics.CLEAN_IMAGE.name]
    return [a.at - stage.probe.sent[a.stamp_ns].at for a in answers if a.stamp_ns in wanted]


EXPECTED = "full rate, no queue, memory flat, every frame counted"
SHORT = (Fault("overload", EXPECTED, overload, composed),)
LONG = (Fault("overload", EXPECTED, overload_for_minutes, composed),)
