"""What decides how a frame is processed: gate, ladder of degraded modes, time between frames.

The ladder: how much of the loop runs, by the frames' processing time and faults.

    loop -> one iteration -> derain only -> pass-through

A fault steps down at once, a run of frames over budget after ``patience`` of them.
After ``recover_after_s`` without either it steps up again, one step at a time; when a
step up fails at once, the next try waits twice as long (up to 16 times).
"""

from __future__ import annotations

from collections.abc import Mapping

from .scene import Frame, Mode
from .settings import EngineSettings

STEPS = (Mode.LOOP, Mode.ONE_ITERATION, Mode.DERAIN_ONLY, Mode.PASS_THROUGH)
MAX_BACKOFF = 16

WATER_STAYS_S = 1.2
"""Coverage opens the gate once it has lasted for longer than this, or since the first frame: water stays on
the glass, while a round sign or a lamp that looks like a drop passes by."""


class Ladder:
    """The step in force. Times are those of :class:`FrameClock`: a replay steps as the drive did."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Back to the top, without any state."""
        self._index = 0
        self._over = 0
        self._quiet_since: int | None = None
        self._backoff = 1
        self._on_trial = False

    @property
    def step(self) -> Mode:
        """The step in force."""
        return STEPS[self._index]

    def fault(self, time_ns: int) -> None:
        """A frame failed (a device error or a non-finite output), or one too many was over budget."""
        if self._on_trial:
            self._backoff = min(MAX_BACKOFF, 2 * self._backoff)
            self._on_trial = False
        self._index = min(self._index + 1, len(STEPS) - 1)
        self._over = 0
        self._quiet_since = time_ns

    def frame(self, time_ns: int, over_budget: bool, patience: int, recover_after_s: float) -> None:
        """A frame was processed, within its budget or not."""
        if over_budget:
            self._over += 1
            self._quiet_since = time_ns
            if self._over >= patience:
                self.fault(time_ns)
            return
        self._over = 0
        if self._quiet_since is None or time_ns < self._quiet_since:
            self._quiet_since = time_ns
        quiet_s = (time_ns - self._quiet_since) / 1e9
        if self._on_trial and quiet_s >= recover_after_s:
            self._on_trial, self._backoff = False, 1
        if self._index and quiet_s >= recover_after_s * self._backoff:
            self._index -= 1
            self._on_trial = True
            self._quiet_since = time_ns


class Gate:
    """Open while any measure is above its limit: each opens at one value and lets close below another.

    So it does not oscillate. What is not measured (NaN) opens nothing, and coverage only what stays:
    :data:`WATER_STAYS_S`.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Close the gate."""
        self.open_for: frozenset[str] = frozenset()
        """The measures that hold it open."""
        self._uncovered_ns: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether the frame needs restoring."""
        return bool(self.open_for)

    def update(self, measured: Mapping[str, float], settings: EngineSettings, time_ns: int) -> bool:
        """Take what was measured in a new frame, by :data:`GATE_MEASURES`; whether the gate is open.

        Args:
            measured: NaN where it was not.
            settings: the limits.
            time_ns: of the frame, which never goes back.
        """
        above = {m for m, value in measured.items() if value >= self._limit(m, settings)}
        if "coverage" not in above:
            self._uncovered_ns = time_ns
        elif "coverage" not in self.open_for and self._uncovered_ns is not None:
            if time_ns - self._uncovered_ns <= 1e9 * WATER_STAYS_S:
                above.discard("coverage")
        self.open_for = frozenset(above)
        return self.is_open

    def _limit(self, measure: str, settings: EngineSettings) -> float:
        close, open_ = settings.gate_limits(measure)
        return close if measure in self.open_for else open_


class FrameClock:
    """Time between the frames of one camera: by their stamps.

    Stamps that are 0 or equal to the previous one (some drivers never set them) are replaced by the
    times of reception, where these are known.
    """

    def __init__(self) -> None:
        self.time_ns = 0
        """Time since the first frame, without steps back."""
        self._last: tuple[int, int | None] | None = None

    def advance(self, frame: Frame) -> float | None:
        """Take a new frame; seconds since the previous one: negative after a step back, None if the first."""
        last, self._last = self._last, (frame.stamp_ns, frame.received_ns)
        if last is None:
            return None
        gap_ns = frame.stamp_ns - last[0]
        unusable = gap_ns == 0 or 0 in (frame.stamp_ns, last[0])
        if unusable and last[1] is not None and frame.received_ns is not None:
            gap_ns = frame.received_ns - last[1]
        self.time_ns += max(0, gap_ns)
        return gap_ns / 1e9
