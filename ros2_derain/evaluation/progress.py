"""Progress for people: a bar on a terminal, a few lines in a log."""

from __future__ import annotations

import sys

from tqdm import tqdm

LINES = 5
"""How many lines a task prints where there is no terminal."""


class Progress:
    """Counts the steps of a task. Use it as a context manager.

    Args:
        task: what is done.
        total: how many steps it has.
    """

    def __init__(self, task: str, total: int) -> None:
        self._task, self._total, self._done = task, total, 0
        self._bar = None
        if sys.stderr.isatty():
            self._bar = tqdm(total=total, desc=task, unit="frame", dynamic_ncols=True)

    def step(self) -> None:
        """One step is done."""
        self._done += 1
        if self._bar is not None:
            self._bar.update()
        elif self._done * LINES // self._total > (self._done - 1) * LINES // self._total:
            print(f"{self._task}: {self._done} of {self._total}", file=sys.stderr, flush=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception) -> None:
        if self._bar is not None:
            self._bar.close()
