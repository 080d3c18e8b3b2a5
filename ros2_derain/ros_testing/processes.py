"""Child processes: started with a log, watched, and always ended; those of a pipeline, fed by a camera."""

from __future__ import annotations

import argparse
import contextlib
import csv
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from ros2_derain.messages import topics
from ros2_derain.nodes import run
from ros2_derain.nodes.run import NODES
from ros2_derain.ros_testing import RosTestingError
from ros2_derain.ros_testing.observer import ACTIVE, Observer
from ros2_derain.ros_testing.recorder import Recorder

START_S = 120.0
"""Longest wait for a node to be active: it loads and warms up its model."""
DISCOVERY_S = 20.0
FINISH_S = 30.0
"""Longest wait, after the last frame was sent, for the nodes to finish."""
SETTLE_S = 0.5
"""A frame sent this long ago has reached its subscribers, or never will."""

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
        """Check that it runs.

        Raises:
            RosTestingError: it has ended; the message shows the end of its log.
        """
        if self.ended():
            raise RosTestingError(f"{self.name} ended with status {self._process.returncode}{self.tail()}")

    def require_success(self) -> None:
        """Check that it has ended with status 0.

        Raises:
            RosTestingError: it has not; the message shows the end of its log.
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


Pipeline = tuple[Child, ...]
"""The processes of a pipeline: one, or one for each node and one that activates them."""


@contextlib.contextmanager
def start_pipeline(options: Sequence[str], out: Path, two_processes: bool = False) -> Iterator[Pipeline]:
    """Start the processes of a pipeline; they end with the context.

    Args:
        options: as for ``ros2-derain run``.
        out: folder for their logs.
        two_processes: the nodes run in a process each and exchange their priors over topics.
    """
    with contextlib.ExitStack() as stack:
        pipeline = tuple(_children(options, out, two_processes))
        for child in pipeline:
            stack.enter_context(child).start()
        yield pipeline


def _children(options: Sequence[str], out: Path, two_processes: bool) -> Iterator[Child]:
    if not two_processes:
        yield Child("the pipeline", "ros2_derain.cli", ["run", *options], out / "pipeline.log")
        return
    parser = argparse.ArgumentParser()
    run.add_arguments(parser)
    arguments = run.ros_arguments(parser.parse_args(options))
    for node in NODES:
        yield Child(node, f"ros2_derain.nodes.{node}", arguments, out / f"{node}.log")
    yield Child("autostart", "ros2_derain.nodes.autostart", reversed(NODES), out / "autostart.log")


def await_active(observer: Observer, pipeline: Pipeline, timeout_s: float = START_S) -> None:
    """Wait until both nodes are active, at most ``timeout_s`` for each.

    Raises:
        RosTestingError: a process ended, or a node was not active in time; the message shows the end of
            the process's log.
    """
    for node in NODES:
        active = lambda node=node: observer.state(node) == ACTIVE  # noqa: E731
        processes = sorted(pipeline, key=lambda child: child.name != node)
        _spin_until(observer, active, timeout_s, f"{node} was not active", *processes)


def send(
    observer: Observer, pipeline: Pipeline, folder: Path, fps: float, frames: int, out: Path
) -> dict[int, int]:
    """Play images to an active pipeline from a camera process, and wait until both nodes are idle.

    Args:
        observer: is spun meanwhile.
        pipeline: its processes.
        folder: images, in the order of their names.
        fps: frames per second.
        frames: number of frames; after the last image follows the first.
        out: folder for the camera's logs.

    Returns:
        the image's index by stamp in ns, in the order of sending.

    Raises:
        RosTestingError: a process ended or did not finish in time; the message shows the end of its log.
    """
    log = out / "sent.csv"
    options = {"fps": fps, "frames": frames, "timeout": DISCOVERY_S, "log": log}
    arguments = [str(folder), *(f"--{name}={value}" for name, value in options.items())]
    with Child("the camera", "ros2_derain.ros_testing.camera", arguments, out / "camera.log") as camera:
        camera.start()
        timeout_s = START_S + DISCOVERY_S + 2 * frames / fps
        _spin_until(observer, camera.ended, timeout_s, "the camera was not done", camera, *pipeline)
        camera.require_success()
    settled_ns = time.time_ns() + int(SETTLE_S * 1e9)
    _spin_until(
        observer,
        lambda: is_idle(observer, settled_ns),
        FINISH_S,
        "the nodes did not report on /diagnostics that they were idle",
        *pipeline,
    )
    with log.open(newline="") as lines:
        return {int(row["stamp_ns"]): int(row["index"]) for row in csv.DictReader(lines)}


def is_idle(observer: Observer, settled_ns: int) -> bool:
    """Whether both nodes have reported, after ``settled_ns`` of their clock, that they are idle."""
    found = [observer.status.get(node) for node in NODES]
    return all(status and status.stamp_ns > settled_ns and status.is_idle() for status in found)


def await_quiet(observer: Observer, recorder: Recorder) -> None:
    """Wait until all messages that the nodes published have arrived."""
    counts, changed = recorder.counts.copy(), time.monotonic()

    def quiet() -> bool:
        nonlocal counts, changed
        now = recorder.counts.copy()
        now[topics.DIAGNOSTICS.name] = 0
        if now != counts:
            counts, changed = now, time.monotonic()
        return time.monotonic() - changed > SETTLE_S

    observer.spin_until(quiet, FINISH_S)


def _spin_until(
    observer: Observer, condition: Callable[[], bool], timeout_s: float, problem: str, *processes: Child
) -> None:
    """Spin until the condition holds, while all processes run.

    Raises:
        RosTestingError: a process ended, or on timeout, with the end of the first process's log.
    """

    def done() -> bool:
        if condition():
            return True
        for child in processes:
            child.require_alive()
        return False

    if not observer.spin_until(done, timeout_s):
        raise RosTestingError(f"{problem} within {timeout_s:.0f} s{processes[0].tail()}")
