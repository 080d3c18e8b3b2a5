"""Load: more frames than the machine can process, and frames for hours; rates, ages, memory, threads."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ros2_derain import machine
from ros2_derain.drill import CheckFailed
from ros2_derain.drill.test_pipeline import RECOVER_S, Outcome, TestPipeline, fault

FACTORS = (1, 5, 20)
"""Loads, in multiples of the machine's throughput."""
REFERENCE = 2
"""The load that shows the throughput: a frame is always waiting, and reception costs little yet."""
MIN_CALM, MAX_PAIRS = 3, 12
"""Calm pairs of windows that each load is judged by, and pairs that are measured at most to get them."""
SHORT_S, LONG_S = 4.0, 40.0
"""Seconds per window; three long ones make two minutes of each load."""
MAX_STOLEN = 0.02
"""Share of the cores' time that a hypervisor may give to others in a calm pair."""
MIN_RATE = 0.9
"""Share of the reference rate that must be left under overload."""
MAX_MEMORY = 1.05
"""Growth of memory over an overload; in a soak, which lasts longer, it is :data:`SOAK_MAX_MEMORY`."""
SOAK_MAX_MEMORY = 1.01
SOAK_MAX_LATENCY = 1.1
SOAK_LOAD = 0.8
"""Load in a soak, in multiples of the machine's throughput."""
SETTLED = 0.1
"""Share of a soak after which memory must have settled."""


@dataclass(frozen=True)
class ProcessUsage:
    """What a process uses, as Linux reports it.

    Attributes:
        rss_mb: resident memory.
        threads: number of threads.
    """

    rss_mb: float
    threads: int

    @classmethod
    def read(cls, pid: int) -> ProcessUsage:
        """Of a running process."""
        lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        return cls(int(lines["VmRSS"].split()[0]) / 1024, int(lines["Threads"]))


@dataclass(frozen=True)
class Window:
    """A period under one load.

    Attributes:
        rate: clean images per second.
        age_s: p95 of the time from sending a frame to receiving its clean image.
        compute_s: p95 of their compute time.
        memory_mb: of the pipeline's process, at the end.
        uncounted: frames that were sent and appear in none of derain_node's counters.
        stolen: share of the cores' time that a hypervisor gave to others.
        camera: share that the drill's own process used, which sends the frames.
    """

    rate: float
    age_s: float
    compute_s: float
    memory_mb: float
    uncounted: int
    stolen: float
    camera: float

    @property
    def available(self) -> float:
        """Share of the cores' time that was available to the pipeline."""
        return 1 - self.stolen - self.camera


@dataclass(frozen=True)
class Pair:
    """A window under the reference load, and one under another load right after it.

    Attributes:
        factor: the other load.
        reference, loaded: the windows.
    """

    factor: int
    reference: Window
    loaded: Window

    @property
    def stolen(self) -> float:
        """Share of the cores' time that a hypervisor gave to others: the larger of both windows'."""
        return max(self.reference.stolen, self.loaded.stolen)


@fault("full rate, no queue, memory flat, every frame counted", long={"seconds": LONG_S})
def overload(pipeline: TestPipeline, seconds: float = SHORT_S) -> Outcome:
    """1 to 20 times the machine's throughput, alternating with windows that measure the throughput.

    A machine that others use too changes its speed within seconds: see :func:`judge_overload`.
    """
    fps, pairs = pipeline.fps, []
    pipeline.settle()
    try:
        throughput = pipeline.throughput(10)  # one frame after the other: rather too low
        for _ in range(MIN_CALM):
            pipeline.fps = REFERENCE * throughput
            throughput = max(throughput, _window(pipeline, SHORT_S).rate)
        for factor in FACTORS:
            measured: list[Pair] = []
            while len(measured) < MAX_PAIRS and sum(p.stolen <= MAX_STOLEN for p in measured) < MIN_CALM:
                pipeline.fps = REFERENCE * throughput
                reference = _window(pipeline, seconds)
                throughput = max(throughput, reference.rate)
                pipeline.fps = factor * throughput
                measured.append(Pair(factor, reference, _window(pipeline, seconds)))
            pairs += measured
    finally:
        pipeline.fps = fps
    return Outcome(judge_overload(pairs), pipeline.recovery_s(RECOVER_S))


def judge_overload(pairs: Sequence[Pair]) -> str:
    """Judge the windows of :func:`overload`; returns a summary.

    Rates and ages are judged by the three pairs of each load from which a hypervisor took least;
    frames must be counted in all. A rate is compared with the reference rate in proportion to the cores'
    time that was available to the pipeline: sending hundreds of images a second takes a part of a core.

    Args:
        pairs: in the order of measurement.

    Raises:
        CheckFailed: the rate fell, frames queued or were not counted, or memory grew.
    """
    calm = {factor: _calmest(pair for pair in pairs if pair.factor == factor) for factor in FACTORS}
    chosen = [pair for of_factor in calm.values() for pair in of_factor]
    kept = {f: _kept_rate(found, lambda window: window.rate / window.available) for f, found in calm.items()}
    windows = [
        (load, 2 / pair.reference.rate + window.compute_s, window.age_s)
        for pair in chosen
        for load, window in ((REFERENCE, pair.reference), (pair.factor, pair.loaded))
    ]
    memory_mb = pairs[0].reference.memory_mb, pairs[-1].loaded.memory_mb
    text = _summary(calm, kept, max(age_s for _, _, age_s in windows), memory_mb)
    for load, limit_s, age_s in windows:
        if age_s > limit_s:
            raise CheckFailed(
                f"at {load}x frames came out {1e3 * age_s:.0f} ms old (p95), over {1e3 * limit_s:.0f}: {text}"
            )
    uncounted = sum(pair.reference.uncounted + pair.loaded.uncounted for pair in pairs)
    if uncounted:
        raise CheckFailed(f"{uncounted} frames were not counted: {text}")
    if min(kept.values()) < MIN_RATE:
        raise CheckFailed(
            f"the output rate fell below {MIN_RATE:.0%} of that at {REFERENCE}x for the cores: {text}"
        )
    if memory_mb[1] > MAX_MEMORY * memory_mb[0]:
        raise CheckFailed(f"memory grew: {text}")
    return text


def _summary(
    calm: dict[int, list[Pair]], kept: dict[int, float], oldest_s: float, memory_mb: tuple[float, float]
) -> str:
    chosen = [pair for pairs in calm.values() for pair in pairs]
    reference = [pair.reference.rate for pair in chosen]
    rates = ", ".join(
        f"{factor}x: {np.mean([pair.loaded.rate for pair in pairs]):.1f}/s "
        f"({_kept_rate(pairs, lambda window: window.rate):.0%}, {kept[factor]:.0%} for the cores it had)"
        for factor, pairs in calm.items()
    )
    text = (
        f"{REFERENCE}x: {min(reference):.1f} to {max(reference):.1f}/s, {rates}; "
        f"oldest (p95) {1e3 * oldest_s:.0f} ms; memory {memory_mb[0]:.0f} -> {memory_mb[1]:.0f} MB"
    )
    stolen = max(pair.stolen for pair in chosen)
    if stolen > MAX_STOLEN:
        text += f"; other machines took up to {stolen:.0%} of the cores' time"
    return text


def _calmest(pairs: Iterable[Pair]) -> list[Pair]:
    return sorted(pairs, key=lambda pair: pair.stolen)[:MIN_CALM]


def _kept_rate(pairs: Sequence[Pair], rate: Callable[[Window], float]) -> float:
    """The rate under load as a share of the reference rate."""
    return sum(rate(pair.loaded) for pair in pairs) / sum(rate(pair.reference) for pair in pairs)


def soak(pipeline: TestPipeline, minutes: float) -> Outcome:
    """Frames at a steady rate; memory, threads and latency must not grow."""
    pipeline.fps = SOAK_LOAD * pipeline.throughput(15)
    pid, end = pipeline.children["pipeline"].pid, time.monotonic() + 60 * minutes
    samples: list[tuple[ProcessUsage, float]] = []
    while time.monotonic() < end:
        pipeline.probe.reset()
        ages_s = pipeline.ages_s(pipeline.send_for(min(5.0, 60 * minutes / 20)))
        samples.append((ProcessUsage.read(pid), float(np.percentile(ages_s, 99))))
    return judge_soak(samples, minutes)


def judge_soak(samples: list[tuple[ProcessUsage, float]], minutes: float) -> Outcome:
    """Compare the last sixth of a soak with the first after memory had settled.

    Args:
        samples: the process's usage, and the p99 age of clean images in seconds, at regular times.
        minutes: duration of the soak.

    Raises:
        CheckFailed: memory, latency or threads grew.
    """
    part = max(1, len(samples) // 6)
    kept = samples[int(SETTLED * len(samples)) :]
    first, last = kept[:part], kept[-part:]
    memory = [np.median([usage.rss_mb for usage, _ in some]) for some in (first, last)]
    latency = [np.median([age_s for _, age_s in some]) for some in (first, last)]
    threads = [usage.threads for usage, _ in kept]
    text = (
        f"{minutes:g} min: memory {memory[0]:.1f} -> {memory[1]:.1f} MB, p99 {1e3 * latency[0]:.1f} -> "
        f"{1e3 * latency[1]:.1f} ms, {min(threads)} to {max(threads)} threads"
    )
    if memory[1] > SOAK_MAX_MEMORY * memory[0] or latency[1] > SOAK_MAX_LATENCY * latency[0]:
        raise CheckFailed(text)
    if max(threads) > threads[0]:
        raise CheckFailed(f"threads were added: {text}")
    return Outcome(text)


def _window(pipeline: TestPipeline, seconds: float) -> Window:
    """Send at the current rate for some seconds."""
    pipeline.probe.reset()
    published, received = pipeline.counter("frames_published"), pipeline.counter("frames_received")
    began, began_cpu, steal = time.monotonic(), time.process_time(), machine.StealMeter()
    sent = pipeline.send_for(seconds)
    spent, stolen = time.monotonic() - began, steal.share()
    camera = (time.process_time() - began_cpu) / (spent * machine.cores())
    pipeline.require_settled()
    ages_s = pipeline.ages_s(sent)
    status = pipeline.probe.status["derain_node"]
    compute_ms = sum(status.number(f"latency_ms.{of}.p95") for of in ("gate", "derain", "parse", "decode"))
    return Window(
        rate=(pipeline.counter("frames_published") - published) / spent,
        age_s=float(np.percentile(ages_s, 95)),
        compute_s=compute_ms / 1e3,
        memory_mb=ProcessUsage.read(pipeline.children["pipeline"].pid).rss_mb,
        uncounted=len(sent) - (pipeline.counter("frames_received") - received),
        stolen=stolen,
        camera=camera,
    )
