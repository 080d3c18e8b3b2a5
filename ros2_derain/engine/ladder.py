"""The ladder: how much of the loop is run, by what the frames' time and faults allow.

    loop -> one iteration -> derain only -> pass-through

A fault steps down at once, a run of frames over budget after ``patience`` of them.
After ``recover_after_s`` without either it steps up again, one step at a time; when a
step up fails at once, the next try waits twice as long (up to 16 times).
"""

from __future__ import annotations

from .scene import Mode

STEPS = (Mode.LOOP, Mode.ONE_ITERATION, Mode.DERAIN_ONLY, Mode.PASS_THROUGH)
MAX_BACKOFF = 16


class Ladder:
    """The step in force. Times are the frames' stamps, so a replay steps as the drive did."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Back to the top, nothing remembered."""
        self._index = 0
        self._over = 0
        self._quiet_since: int | None = None
        self._backoff = 1
        self._on_trial = False

    @property
    def step(self) -> Mode:
        """The step in force."""
        return STEPS[self._index]

    def fault(self, stamp_ns: int) -> None:
        """A frame failed: a device error or a non-finite output."""
        self._down(stamp_ns)

    def frame(self, stamp_ns: int, over_budget: bool, patience: int, recover_after_s: float) -> None:
        """A frame was processed, within its budget or not."""
        if over_budget:
            self._over += 1
            self._quiet_since = stamp_ns
            if self._over >= patience:
                self._down(stamp_ns)
            return
        self._over = 0
        if self._quiet_since is None or stamp_ns < self._quiet_since:
            self._quiet_since = stamp_ns
        quiet_s = (stamp_ns - self._quiet_since) / 1e9
        if self._on_trial and quiet_s >= recover_after_s:
            self._on_trial, self._backoff = False, 1
        if self._index and quiet_s >= recover_after_s * self._backoff:
            self._index -= 1
            self._on_trial = True
            self._quiet_since = stamp_ns

    def _down(self, stamp_ns: int) -> None:
        if self._on_trial:
            self._backoff = min(MAX_BACKOFF, 2 * self._backoff)
            self._on_trial = False
        self._index = min(self._index + 1, len(STEPS) - 1)
        self._over = 0
        self._quiet_since = stamp_ns
