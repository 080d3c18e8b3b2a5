"""Several cameras on one set of networks, on a CPU: several frames at a time, each on cores of its own.

Two cores get more frames done with one each than with both at one: a network's layers
wait for each other, frames do not. A batch would gain nothing either, and at 1280x720
not even fit the caches. (On a GPU it is the other way round: :mod:`.rounds`.)

Frames are seated in the order in which they come, so that each camera gets its share.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

STUCK_S = 2.0
"""A frame that has waited longer for a seat is processed without one: those who sit may hang."""


class Seats:
    """Who is at work now, and who is next.

    Args:
        cameras: how many take part.
        cores: that they share; by default as many as torch would use for one.
    """

    def __init__(self, cameras: int, cores: int | None = None) -> None:
        cores = cores or torch.get_num_threads()
        self.threads = max(1, cores // cameras)
        """Of each frame."""
        self.count = min(cameras, max(1, cores // self.threads))
        """Frames that are worked on at a time."""
        self._free = self.count
        self._queue: deque[threading.Event] = deque()
        self._lock = threading.Lock()
        self._known = threading.local()

    @contextmanager
    def frame(self) -> Iterator[None]:
        """Wait for a seat; its block is one frame of the calling thread's camera."""
        if not hasattr(self._known, "thread"):
            self._known.thread = True
            torch.set_num_threads(self.threads)  # of what this thread computes
        seated = self._sit()
        try:
            yield
        finally:
            if seated:
                self._rise()

    def share(self, network: Any) -> Any:
        """A network as each of the cameras sees it: their own."""
        return network

    def _sit(self) -> bool:
        """Whether there was a seat in time."""
        with self._lock:
            if self._free:
                self._free -= 1
                return True
            mine = threading.Event()
            self._queue.append(mine)
        if mine.wait(STUCK_S):
            return True
        with self._lock:
            if mine.is_set():
                return True
            self._queue.remove(mine)
            return False

    def _rise(self) -> None:
        """Leave the seat to who has waited longest."""
        with self._lock:
            if self._queue:
                self._queue.popleft().set()
            else:
                self._free += 1
