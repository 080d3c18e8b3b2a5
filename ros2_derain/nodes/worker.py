"""A thread that always works on the newest item, so that an executor never waits.

Each lane holds at most one waiting item. A new item replaces the waiting one; the
owner hears of it and counts it. Lanes are served in the order in which they were
given: the first one that has an item goes first.

Who brings items faster than they can be worked on is held up while the item at hand is not
nearly done: what would be replaced before it is wanted had better not be received at all, for
its reception takes the worker's cores and Python's lock.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

HELD_S = 0.025
"""Longest time that who brings too many is held up."""
NEARLY_S = 0.01
"""When the item at hand should be done so soon, nobody is held up: the next shall be the newest."""


class Worker:
    """One thread, one or more lanes with room for one item each.

    Args:
        name: the thread's name.
        lanes: what to call with an item, by lane, most urgent lane first. It must
            not raise.
        replaced: called with the lane's name when a waiting item was replaced.
        turn: makes the context in which an item is worked on. It may wait: the item is
            chosen after that, so that it is the newest.
        held_s: longest time that who brings too many is held up.
    """

    def __init__(
        self,
        name: str,
        lanes: Mapping[str, Callable[[Any], None]],
        replaced: Callable[[str], None],
        turn: Callable[[], AbstractContextManager] = nullcontext,
        held_s: float = HELD_S,
    ) -> None:
        self._lanes = dict(lanes)
        self._replaced = replaced
        self._turn = turn
        self._held_s = held_s
        self._is_open = False
        self._waiting: dict[str, Any] = {}
        self._changed = threading.Condition()
        self._stopping = False
        self._began: float | None = None
        self._lane = ""
        self._spent = dict.fromkeys(self._lanes, 0.0)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def offer(self, lane: str, item: Any) -> None:
        """Put an item in its lane; in place of one that waits there, it takes up to ``held_s``."""
        with self._changed:
            replaces = lane in self._waiting
            self._waiting[lane] = item
            self._changed.notify_all()
        if replaces:
            self._replaced(lane)
            with self._changed:
                held_s = min(self._held_s, self._left_s() - NEARLY_S)
                self._changed.wait_for(
                    lambda: self._stopping or self._is_open or lane not in self._waiting, held_s
                )

    def let_in(self) -> None:
        """Hold up nobody until the item at hand is done: its handler waits for what others bring."""
        with self._changed:
            self._is_open = True
            self._changed.notify_all()

    def _left_s(self) -> float:
        """How long the item at hand should still take, by the last one of its lane."""
        return self._spent.get(self._lane, 0.0) - self.busy_s

    @property
    def busy_s(self) -> float:
        """How long the item at hand has been worked on, in seconds; 0 where there is none."""
        began = self._began
        return 0.0 if began is None else time.monotonic() - began

    def stop(self) -> list[str]:
        """Let the item at hand be finished, end the thread, and join it.

        Returns:
            the lanes whose waiting item was never worked on.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join()
        return list(self._waiting)

    def _run(self) -> None:
        while self._wait():
            with self._turn():
                work = self._next()
                if work is not None:
                    self._lane, item = work
                    self._began = time.monotonic()
                    self._lanes[self._lane](item)
                    self._spent[self._lane] = self.busy_s
                    self._lane, self._began, self._is_open = "", None, False

    def _wait(self) -> bool:
        """Wait for an item; False when the worker is to stop."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._waiting)
            return not self._stopping

    def _next(self) -> tuple[str, Any] | None:
        """The most urgent lane and its item; None when the worker is to stop."""
        with self._changed:
            if self._stopping:
                return None
            lane = next(lane for lane in self._lanes if lane in self._waiting)
            self._changed.notify_all()
            return lane, self._waiting.pop(lane)
