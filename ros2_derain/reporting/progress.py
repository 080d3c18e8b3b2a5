"""Progress of a task: a bar on a terminal, a few lines in a log."""

from __future__ import annotations

import sys
import time
from datetime import timedelta

from tqdm import tqdm

LINES = 5
"""Lines that a task prints without a terminal."""


class Progress:
    """Counts the steps of a task. Use it as a context manager.

    Args:
        task: its name.
        total: number of steps; 0: nothing is shown.
    """

    def __init__(self, task: str, total: int) -> None:
        self._task, self._total, self._done = task, total, 0
        self._began = time.monotonic()
        self._bar = None
        if total and sys.stderr.isatty():
            self._bar = tqdm(total=total, desc=task, unit="frame", dynamic_ncols=True)

    def step(self, count: int = 1) -> None:
        """Count ``count`` further steps."""
        self._done += count
        if self._bar is not None:
            self._bar.update(count)
        elif self._total and self._done * LINES // self._total > (self._done - count) * LINES // self._total:
            print(f"{self._task}: {self._done} of {self._total}{self._left()}", file=sys.stderr, flush=True)

    def _left(self) -> str:
        """Estimated time left, at the pace so far."""
        left_s = (self._total - self._done) * (time.monotonic() - self._began) / self._done
        return f", {timedelta(seconds=round(left_s))} left" if left_s >= 1 else ""

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception) -> None:
        if self._bar is not None:
            self._bar.close()
