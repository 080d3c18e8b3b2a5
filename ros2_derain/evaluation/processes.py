"""Child processes: started with a log, watched, and always ended."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from ros2_derain.evaluation.errors import EvaluationError

LAST_LINES = 15

STOPS = ((signal.SIGINT, 12.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))
"""How a child is ended: the signals, and the seconds that each is given."""


class Child:
    """A Python module that runs as a process of its own. Use it as a context manager.

    Args:
        name: what to call it in messages.
        module: as for ``python -m``.
        arguments: its command line.
        log: file for all that it prints.
    """

    def __init__(self, name: str, module: str, arguments: Iterable[str], log: Path) -> None:
        self.name, self.log = name, log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches it through stop(), once
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def ended(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self._process.poll() is not None

    def require_alive(self) -> None:
        """Raises:
        EvaluationError: it has ended; the message shows the end of its log.
        """
        if self.ended():
            raise EvaluationError(f"{self.name} ended with status {self._process.returncode}{self.tail()}")

    def require_success(self) -> None:
        """Raises:
        EvaluationError: it has not ended with status 0; the message shows the end of its log.
        """
        if self._process.poll() != 0:
            raise EvaluationError(f"{self.name} ended with status {self._process.returncode}{self.tail()}")

    def tail(self) -> str:
        """The last lines of its log, for a message."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
        return f"; the end of {self.log}:\n" + "\n".join(f"    {line}" for line in lines or ["(empty)"])

    def stop(self) -> int:
        """Ask it to end as Ctrl-C does, insist where it does not; returns its exit status."""
        for order, patience_s in STOPS:
            if self.ended():
                break
            self._process.send_signal(order)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(patience_s)
        return self._process.wait()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *exception) -> None:
        self.stop()
