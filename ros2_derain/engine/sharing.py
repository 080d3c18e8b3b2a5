"""Several cameras on one set of networks, each with a thread of its own, as if the networks were its own.

**On a GPU** frames that arrive together form a batch (:class:`GpuBatcher`): the newest waiting frame of
every camera that has one; each network then runs once for all of them. A camera has at most one frame
in a batch, and no batch begins before every frame of the last one is done: each camera gets its share,
whatever the frame rate of the others. Only :class:`BatchedNetwork` knows of the batch.

**On a CPU** frames are processed in parallel, each on its share of the cores (:class:`CpuScheduler`). Two
cores process more frames with one core each than with both on one frame: the threads of a network wait
for each other at every layer, frames do not. A batch gains nothing either, and at 1280x720 does not fit
the caches. Frames are scheduled in arrival order, so that each camera gets its share.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

GATHER_S = 0.003
STRAGGLER_S = 0.05

STUCK_S = 2.0
"""A batch on a GPU that takes longer no longer blocks the next one; a frame that has waited longer for a
core is processed at once: the running ones may hang."""


class GpuBatcher:
    """The frames of the current batch, and the network calls that they wait for.

    Args:
        cameras: number of cameras; when all of them wait, a batch begins at once.
        gather_s: otherwise it begins this long after its first frame arrived.
        straggler_s: longest wait of a network call for the slower frames of the batch.
    """

    def __init__(self, cameras: int, gather_s: float = GATHER_S, straggler_s: float = STRAGGLER_S) -> None:
        self._cameras, self._gather_s, self._straggler_s = cameras, gather_s, straggler_s
        self._changed = threading.Condition()
        self._device = threading.Lock()
        self._number = 0
        self._began = self._first_came = 0.0
        self._waiting = self._running = self._computing = 0
        self._requests: list[_Request] = []

    @property
    def of_graphs(self) -> dict[str, int]:
        """What compiled graphs must know of it: fields of :class:`.graph_networks.Target`."""
        return {"batch": self._cameras}

    @contextmanager
    def frame(self) -> Iterator[None]:
        """Wait for the next batch; the block is one frame of the calling thread's camera."""
        self._enter()
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def share(self, network: Any) -> BatchedNetwork:
        """The network as each of the cameras calls it."""
        return BatchedNetwork(network, self)

    def run(self, function: Callable, *arguments: Any) -> Any:
        """``function(*arguments)``, together with the other frames of the batch that call the same.

        Args:
            function: of tensors N x ..., or (named) tuples of such; so is its result.
            arguments: with N = 1.

        Raises:
            Exception: whatever the function raises. A batch that fails with RuntimeError is repeated
                frame by frame, so that only the failing frame's camera sees the error.
        """
        request = _Request(function, arguments)
        with self._changed:
            self._requests.append(request)
            self._changed.notify_all()
            self._changed.wait_for(lambda: request.is_taken or self._is_complete(), self._straggler_s)
            taken = [] if request.is_taken else self._take()
        if taken:
            self._compute(taken)
        with self._changed:
            self._changed.wait_for(lambda: request.is_done)
        return request.outcome()

    def _enter(self) -> None:
        with self._changed:
            ticket, now = self._number, time.monotonic()
            if not self._waiting:
                self._first_came = now
            self._waiting += 1
            self._changed.notify_all()
            while self._number == ticket:
                left = self._seconds_to_next()
                if left <= 0:
                    self._begin()
                else:
                    self._changed.wait(left)

    def _seconds_to_next(self) -> float:
        """Until the next batch begins, if nothing else happens before."""
        now = time.monotonic()
        if self._running:
            return self._began + STUCK_S - now
        return 0.0 if self._waiting >= self._cameras else self._first_came + self._gather_s - now

    def _begin(self) -> None:
        self._running += self._waiting
        self._waiting = 0
        self._number += 1
        self._began = time.monotonic()
        self._changed.notify_all()

    def _is_complete(self) -> bool:
        """Whether every frame of the batch has a call waiting or running."""
        return len(self._requests) + self._computing >= self._running

    def _take(self) -> list[_Request]:
        taken, self._requests = self._requests, []
        for request in taken:
            request.is_taken = True
        self._computing += len(taken)
        self._changed.notify_all()
        return taken

    def _compute(self, requests: list[_Request]) -> None:
        """In the thread of one of them, while the others wait."""
        try:
            with self._device:
                for group in _alike(requests):
                    _serve(group)
        finally:
            with self._changed:
                self._computing -= len(requests)
                for request in requests:
                    request.is_done = True
                self._changed.notify_all()


class BatchedNetwork:
    """A network that several cameras call, each as if it were its own.

    Args:
        network: a derainer, a parser or a gauge; it must treat the images of a batch alike.
        batcher: of the cameras that share it.
    """

    def __init__(self, network: Any, batcher: GpuBatcher) -> None:
        self._network, self._batcher = network, batcher

    def __call__(self, *arguments: Any) -> Any:
        """The network's ``forward``."""
        return self._batcher.run(self._network, *arguments)

    def __getattr__(self, name: str) -> Any:
        """A method of the network (``coarse``, ``refine``), batched, or an attribute."""
        value = getattr(self._network, name)
        return partial(self._batcher.run, value) if callable(value) else value


class _Request:
    """One frame's call of a function."""

    def __init__(self, function: Callable, arguments: tuple) -> None:
        self.function, self.arguments = function, arguments
        self.is_taken = self.is_done = False
        self.result: Any = None
        self.error: BaseException | None = RuntimeError("never computed")

    def alone(self) -> None:
        """Compute it by itself."""
        try:
            self.result, self.error = self.function(*self.arguments), None
        except Exception as error:
            self.error = error

    def outcome(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.result


def _alike(requests: list[_Request]) -> list[list[_Request]]:
    """The requests in groups of equal function and shapes, in arrival order."""
    groups: dict[Any, list[_Request]] = {}
    for request in requests:
        groups.setdefault((request.function, _shape(request.arguments)), []).append(request)
    return list(groups.values())


def _serve(group: list[_Request]) -> None:
    if len(group) == 1 or not _together(group):
        for request in group:
            request.alone()


def _together(group: list[_Request]) -> bool:
    """Compute the requests as one batch; False where that fails and each must be tried alone."""
    try:
        joined = _joined([request.arguments for request in group])
        results = _split(group[0].function(*joined), len(group))
    except RuntimeError:
        return False
    for request, result in zip(group, results, strict=True):
        request.result, request.error = result, None
    return True


def _shape(value: Any) -> Any:
    """What must be equal for values to be joined into a batch; hashable."""
    if isinstance(value, Tensor):
        return tuple(value.shape), value.dtype
    if isinstance(value, tuple):
        return type(value), tuple(_shape(item) for item in value)
    return value


def _joined(values: list[Any]) -> Any:
    """Values of equal shape as one with N = len(values)."""
    first = values[0]
    if isinstance(first, Tensor):
        return torch.cat(values)
    if isinstance(first, tuple):
        return _rebuilt(first, [_joined(list(items)) for items in zip(*values, strict=True)])
    return first


def _split(value: Any, count: int) -> list[Any]:
    """A value with N = ``count`` as ``count`` values with N = 1."""
    if isinstance(value, Tensor):
        return list(value.split(1))
    if isinstance(value, tuple):
        parts = [_split(item, count) for item in value]
        return [_rebuilt(value, list(items)) for items in zip(*parts, strict=True)]
    return [value] * count


def _rebuilt(like: tuple, items: list[Any]) -> tuple:
    """A tuple, or a named tuple of the same type."""
    return type(like)(*items) if hasattr(like, "_fields") else tuple(items)


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

    @property
    def of_graphs(self) -> dict[str, int]:
        """What compiled graphs must know of it: fields of :class:`.graph_networks.Target`."""
        return {"streams": self.count, "threads": self.count * self.threads}

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
