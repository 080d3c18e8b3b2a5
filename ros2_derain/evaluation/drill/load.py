"""More frames than the machine can do, and frames for hours: rates, ages, memory, threads."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ros2_derain.evaluation.drill.faults import Fault, Seen
from ros2_derain.evaluation.drill.stage import BACK_S, Shortfall, Stage, composed
from ros2_derain.nodes import topics

FACTORS = (1, 2, 5, 20)
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


def overload(stage: Stage, seconds: float = SHORT_S) -> Seen:
    """Once to 20 times what the machine can do."""
    usual, capacity = stage.fps, stage.capacity(15)
    pid = stage.children["pipeline"].pid
    rates, oldest, memory = [], 0.0, []
    try:
        for factor in FACTORS:
            stage.fps = factor * capacity
            rate, age, compute = _loaded(stage, seconds)
            limit = 2 / capacity + compute
            rates.append(rate)
            oldest = max(oldest, age)
            memory.append(Process.read(pid).rss_mb)
            if age > limit:
                raise Shortfall(
                    f"at {factor}x frames came out {1e3 * age:.0f} ms old (p95), over {1e3 * limit:.0f}"
                )
    finally:
        stage.fps = usual
    text = ", ".join(f"{factor}x: {rate:.1f}/s" for factor, rate in zip(FACTORS, rates, strict=True))
    text += f"; oldest (p95) {1e3 * oldest:.0f} ms; memory {memory[0]:.0f} -> {memory[-1]:.0f} MB"
    if min(rates[1:]) < RATE_KEPT * rates[0]:
        raise Shortfall(f"the output rate fell below {RATE_KEPT:.0%} of that at 1x: {text}")
    if memory[-1] > MEMORY_KEPT * memory[0]:
        raise Shortfall(f"memory grew: {text}")
    return Seen(text, stage.recovery(BACK_S))


def overload_for_minutes(stage: Stage) -> Seen:
    """As :func:`overload`, two minutes for each factor."""
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


def _loaded(stage: Stage, seconds: float) -> tuple[float, float, float]:
    """Output rate [1/s], p95 age of the clean images, and p95 of their compute time [s]."""
    stage.probe.forget()
    before = stage.counted("frames_published")
    began = time.monotonic()
    sent = stage.drive_for(seconds)
    spent = time.monotonic() - began
    if not stage.settle():
        raise Shortfall("the books of derain_node do not balance")
    ages = _ages(stage, sent)
    status = stage.probe.status["derain_node"]
    compute = sum(
        status.number(f"latency_ms.{stage_}.p95") for stage_ in ("gate", "derain", "parse", "decode")
    )
    if not ages:
        raise Shortfall("no frame came out")
    return (stage.counted("frames_published") - before) / spent, float(np.percentile(ages, 95)), compute / 1e3


def _ages(stage: Stage, sent: list[int]) -> list[float]:
    """Seconds from sending to the clean image, of those frames that came out."""
    wanted = set(sent)
    answers = stage.probe.answers[topics.CLEAN_IMAGE.name]
    return [a.at - stage.probe.sent[a.stamp_ns].at for a in answers if a.stamp_ns in wanted]


EXPECTED = "full rate, no queue, memory flat, every frame counted"
SHORT = (Fault("overload", EXPECTED, overload, composed),)
LONG = (Fault("overload", EXPECTED, overload_for_minutes, composed),)
