"""Child processes: started with a log, watched, and always ended."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from ros2_derain.ros_testing import RosTestingError

LAST_LINES = 15

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that end this process."""

STOP_SIGNALS = ((signal.SIGINT, 12.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))
"""How a child is ended: the signals, and the seconds to wait after each."""


class Child:
    """A Python module that runs as a process of its own: started by :meth:`start`, ended by the context.

    A signal to this process is deferred while the child is started and while it is ended:
    whenever the signal comes, no child outlives the context.

    Args:
        name: what to call it in messages.
        module: as for ``python -m``.
        arguments: its command line.
        log: file for its output and errors.
    """

    def __init__(self, name: str, module: str, arguments: Iterable[str], log: Path) -> None:
        self.name, self.log = name, log
        self._command = [sys.executable, "-m", module, *map(str, arguments)]
        self._started: subprocess.Popen | None = None

    def start(self) -> None:
        """Start it, in the context that will end it."""
        with self.log.open("wb") as output, _signals_deferred():
            self._started = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches it through stop(), once
            )

    @property
    def _process(self) -> subprocess.Popen:
        assert self._started is not None, f"{self.name} was not started"
        return self._started

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def ended(self) -> bool:
        """Whether it has ended, for whatever reason."""
        return self._process.poll() is not None

    def require_alive(self) -> None:
        """Raises:
        RosTestingError: it has ended; the message shows the end of its log.
        """
        if self.ended():
            raise RosTestingError(f"{self.name} ended with status {self._process.returncode}{self.tail()}")

    def require_success(self) -> None:
        """Raises:
        RosTestingError: it has not ended with status 0; the message shows the end of its log.
        """
        if self._process.poll() != 0:
            raise RosTestingError(f"{self.name} ended with status {self._process.returncode}{self.tail()}")

    def tail(self) -> str:
        """The last lines of its log, for a message."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
        return f"; the end of {self.log}:\n" + "\n".join(f"    {line}" for line in lines or ["(empty)"])

    def stop(self) -> int:
        """End it as Ctrl-C does, with stronger signals if necessary; returns its exit status."""
        with _signals_deferred():
            for number, timeout_s in STOP_SIGNALS:
                if self.ended():
                    break
                self._process.send_signal(number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(timeout_s)
            return self._process.wait()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *exception) -> None:
        if self._started is not None:
            self.stop()


@contextlib.contextmanager
def _signals_deferred() -> Iterator[None]:
    """Signals take effect when the block is left: their exceptions don't interrupt it."""
    if threading.current_thread() is not threading.main_thread():  # where none are raised
        yield
        return
    caught: list[int] = []
    before = {
        int(number): signal.signal(number, lambda number, _: caught.append(number))
        for number in ENDING
        if signal.getsignal(number) is not signal.SIG_IGN  # the child inherits that
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in caught[:1]:
            signal.raise_signal(number)
