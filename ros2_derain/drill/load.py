"""More frames than the machine can do, and frames for hours: rates, ages, memory, threads."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ros2_derain import machine
from ros2_derain.drill.faults import Fault, Seen
from ros2_derain.drill.test_pipeline import BACK_S, Shortfall, Stage, composed
from ros2_derain.nodes import outputs

FACTORS = (1, 5, 20)
"""How many times what the machine can do."""
FULL = 2
"""The load that shows what the machine can do: always a frame waits, and reception costs little yet."""
WANTED, MOST = 3, 12
"""How many calm pairs of windows each load is judged by, and how many are played at most to get them."""
SHORT_S, LONG_S = 4.0, 40.0
"""Of a window; three long ones make two minutes of each load."""
CALM = 0.02
"""Share of the cores' time; what a hypervisor takes beyond it spoils a pair."""
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
        stolen: share of the cores' time that a hypervisor gave to others.
        camera: share that the drill's own process took, which sends the frames.
    """

    rate: float
    age_s: float
    compute_s: float
    memory_mb: float
    uncounted: int
    stolen: float
    camera: float

    @property
    def left(self) -> float:
        """Share of the cores' time that was left to the pipeline."""
        return 1 - self.stolen - self.camera


@dataclass(frozen=True)
class Pair:
    """A window in which the machine does what it can, and one under another load right after.

    Attributes:
        factor: which load.
        full, loaded: the windows.
    """

    factor: int
    full: Window
    loaded: Window

    @property
    def stolen(self) -> float:
        """Share of the cores' time that a hypervisor gave to others, in the worse of both."""
        return max(self.full.stolen, self.loaded.stolen)


def overload(stage: Stage, seconds: float = SHORT_S) -> Seen:
    """1 to 20 times what the machine can do, in turns with windows that show what that is.

    A machine that others use too changes its speed within seconds: see :func:`withstood`.
    """
    usual, pairs = stage.fps, []
    stage.settle()
    try:
        capacity = stage.capacity(10)  # one frame after the other: rather too little
        for _ in range(WANTED):
            stage.fps = FULL * capacity
            capacity = max(capacity, _window(stage, SHORT_S).rate)
        for factor in FACTORS:
            played: list[Pair] = []
            while len(played) < MOST and sum(pair.stolen <= CALM for pair in played) < WANTED:
                stage.fps = FULL * capacity
                full = _window(stage, seconds)
                capacity = max(capacity, full.rate)
                stage.fps = factor * capacity
                played.append(Pair(factor, full, _window(stage, seconds)))
            pairs += played
    finally:
        stage.fps = usual
    return Seen(withstood(pairs), stage.recovery(BACK_S))


def withstood(pairs: Sequence[Pair]) -> str:
    """What the windows of :func:`overload` showed.

    Rates and ages are those of the three pairs of each load of which a hypervisor took least;
    frames must be counted in all. A rate is held against the full one in proportion to the cores'
    time that was left to the pipeline: hundreds of pictures a second cost who sends them a part
    of a core.

    Args:
        pairs: in the order in which they were played.

    Raises:
        Shortfall: the rate fell, frames queued or were not counted, or memory grew.
    """
    calm = {factor: _calmest(pair for pair in pairs if pair.factor == factor) for factor in FACTORS}
    chosen = [pair for three in calm.values() for pair in three]
    full = [pair.full.rate for pair in chosen]
    kept = {factor: _kept(three, lambda window: window.rate / window.left) for factor, three in calm.items()}
    rates = ", ".join(
        f"{factor}x: {np.mean([pair.loaded.rate for pair in three]):.1f}/s "
        f"({_kept(three, lambda window: window.rate):.0%}, {kept[factor]:.0%} for the cores it had)"
        for factor, three in calm.items()
    )
    memory = pairs[0].full.memory_mb, pairs[-1].loaded.memory_mb
    windows = [
        (load, 2 / pair.full.rate + window.compute_s, window.age_s)
        for pair in chosen
        for load, window in ((FULL, pair.full), (pair.factor, pair.loaded))
    ]
    text = (
        f"{FULL}x: {min(full):.1f} to {max(full):.1f}/s, {rates}; "
        f"oldest (p95) {1e3 * max(age_s for _, _, age_s in windows):.0f} ms; "
        f"memory {memory[0]:.0f} -> {memory[1]:.0f} MB"
    )
    stolen = max(pair.stolen for pair in chosen)
    if stolen > CALM:
        text += f"; other machines took up to {stolen:.0%} of the cores' time"
    for load, limit_s, age_s in windows:
        if age_s > limit_s:
            raise Shortfall(
                f"at {load}x frames came out {1e3 * age_s:.0f} ms old (p95), over {1e3 * limit_s:.0f}: {text}"
            )
    uncounted = sum(pair.full.uncounted + pair.loaded.uncounted for pair in pairs)
    if uncounted:
        raise Shortfall(f"{uncounted} frames were not counted: {text}")
    if min(kept.values()) < RATE_KEPT:
        raise Shortfall(
            f"the output rate fell below {RATE_KEPT:.0%} of that at {FULL}x for the cores: {text}"
        )
    if memory[1] > MEMORY_KEPT * memory[0]:
        raise Shortfall(f"memory grew: {text}")
    return text


def _calmest(pairs: Iterable[Pair]) -> list[Pair]:
    return sorted(pairs, key=lambda pair: pair.stolen)[:WANTED]


def _kept(pairs: Sequence[Pair], rate: Callable[[Window], float]) -> float:
    """What is left of a rate under load."""
    return sum(rate(pair.loaded) for pair in pairs) / sum(rate(pair.full) for pair in pairs)


def overload_for_minutes(stage: Stage) -> Seen:
    """As :func:`overload`, two minutes of each load."""
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
    began, began_cpu, steal = time.monotonic(), time.process_time(), machine.StealMeter()
    sent = stage.drive_for(seconds)
    spent, stolen = time.monotonic() - began, steal.share()
    camera = (time.process_time() - began_cpu) / (spent * machine.cores())
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
        stolen=stolen,
        camera=camera,
    )


def _ages(stage: Stage, sent: list[int]) -> list[float]:
    """Seconds from sending to the clean image, of those frames that came out."""
    wanted = set(sent)
    answers = stage.probe.answers[outputs.CLEAN_IMAGE.name]
    return [a.at - stage.probe.sent[a.stamp_ns].at for a in answers if a.stamp_ns in wanted]


EXPECTED = "full rate, no queue, memory flat, every frame counted"
SHORT = (Fault("overload", EXPECTED, overload, composed),)
LONG = (Fault("overload", EXPECTED, overload_for_minutes, composed),)
