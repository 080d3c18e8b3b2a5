"""A thread that always works on the newest item, so that the executor never waits for it.

Each queue has room for one item: a new item replaces the waiting one, and the owner is notified so
that it can count it. Queues are served in the order given: the first that has an item goes first.

A producer that replaces items faster than they can be processed is throttled while the current
item is not nearly done: what would be replaced anyway should not even be received, because its
reception takes the worker's cores and Python's lock.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

THROTTLE_S = 0.025
"""Longest time that a producer is blocked."""
NEARLY_DONE_S = 0.01
"""No producer is blocked when the current item should be done this soon: the next shall be the newest."""


class Worker:
    """One thread, one or more queues with room for one item each.

    Args:
        name: the thread's name.
        handlers: what to call with an item, by queue, most urgent queue first. They must not raise.
        replaced: called with the queue's name when a waiting item was replaced.
        context: makes the context in which an item is processed. Entering it may wait: the item
            is chosen after that, so that it is the newest.
        throttle_s: longest time that a producer is blocked.
    """

    def __init__(
        self,
        name: str,
        handlers: Mapping[str, Callable[[Any], None]],
        replaced: Callable[[str], None],
        context: Callable[[], AbstractContextManager] = nullcontext,
        throttle_s: float = THROTTLE_S,
    ) -> None:
        self._handlers = dict(handlers)
        self._replaced = replaced
        self._context = context
        self._throttle_s = throttle_s
        self._unthrottled = False
        self._waiting: dict[str, Any] = {}
        self._changed = threading.Condition()
        self._stopping = False
        self._began: float | None = None
        self._queue = ""
        self._durations = dict.fromkeys(self._handlers, 0.0)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def offer(self, queue: str, item: Any) -> None:
        """Put an item into its queue; blocks up to ``throttle_s`` where it replaces one that waits."""
        with self._changed:
            replaces = queue in self._waiting
            self._waiting[queue] = item
            self._changed.notify_all()
        if replaces:
            self._replaced(queue)
            with self._changed:
                blocked_s = min(self._throttle_s, self._remaining_s() - NEARLY_DONE_S)
                self._changed.wait_for(
                    lambda: self._stopping or self._unthrottled or queue not in self._waiting, blocked_s
                )

    def suspend_throttle(self) -> None:
        """Block no producer until the current item is done: its handler waits for a message."""
        with self._changed:
            self._unthrottled = True
            self._changed.notify_all()

    def _remaining_s(self) -> float:
        """How long the current item should still take, by the last one of its queue."""
        return self._durations.get(self._queue, 0.0) - self.busy_s

    @property
    def busy_s(self) -> float:
        """How long the current item has been processed, in seconds; 0 where there is none."""
        began = self._began
        return 0.0 if began is None else time.monotonic() - began

    def stop(self) -> list[str]:
        """Finish the current item, end the thread, and join it.

        Returns:
            the queues whose waiting item was never processed.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join()
        return list(self._waiting)

    def _run(self) -> None:
        while self._wait():
            with self._context():
                chosen = self._next()
                if chosen is not None:
                    self._queue, item = chosen
                    self._began = time.monotonic()
                    self._handlers[self._queue](item)
                    self._durations[self._queue] = self.busy_s
                    self._queue, self._began, self._unthrottled = "", None, False

    def _wait(self) -> bool:
        """Wait for an item; False when the worker is to stop."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._waiting)
            return not self._stopping

    def _next(self) -> tuple[str, Any] | None:
        """The most urgent queue and its item; None when the worker is to stop."""
        with self._changed:
            if self._stopping:
                return None
            queue = next(queue for queue in self._handlers if queue in self._waiting)
            self._changed.notify_all()
            return queue, self._waiting.pop(queue)
