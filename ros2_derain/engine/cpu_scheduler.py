"""Several cameras on one set of networks, on a CPU: frames in parallel, each on its share of the cores.

Two cores process more frames with one core each than with both on one frame: the threads of a
network wait for each other at every layer, frames do not. A batch gains nothing either, and at
1280x720 does not fit the caches. (A GPU is the opposite case: :mod:`.gpu_batcher`.)

Frames are scheduled in arrival order, so that each camera gets its share.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

STUCK_S = 2.0
"""A frame that has waited longer is processed at once: the running ones may hang."""


class CpuScheduler:
    """Limits how many frames are processed at a time, and the threads of each.

    Args:
        cameras: number of cameras.
        cores: shared by them; by default the number of threads that torch would use.
    """

    def __init__(self, cameras: int, cores: int | None = None) -> None:
        cores = cores or torch.get_num_threads()
        self.threads = max(1, cores // cameras)
        """Per frame."""
        self.count = min(cameras, max(1, cores // self.threads))
        """Frames processed at a time."""
        self._free = self.count
        self._queue: deque[threading.Event] = deque()
        self._lock = threading.Lock()
        self._prepared = threading.local()

    @contextmanager
    def frame(self) -> Iterator[None]:
        """Wait for a free slot; the block is one frame of the calling thread's camera."""
        if not hasattr(self._prepared, "done"):
            self._prepared.done = True
            torch.set_num_threads(self.threads)  # of this thread's operators
        acquired = self._acquire()
        try:
            yield
        finally:
            if acquired:
                self._release()

    def share(self, network: Any) -> Any:
        """The network as each of the cameras calls it: itself."""
        return network

    def _acquire(self) -> bool:
        """Whether a slot became free in time."""
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

    def _release(self) -> None:
        """Give the slot to the frame that has waited longest."""
        with self._lock:
            if self._queue:
                self._queue.popleft().set()
            else:
                self._free += 1
