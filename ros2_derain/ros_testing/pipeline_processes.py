"""Starts a pipeline, plays a camera to it and records what comes out."""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ros2_derain.nodes import outputs, run, topics
from ros2_derain.ros_testing import RosTestingError, camera
from ros2_derain.ros_testing.child_process import Child
from ros2_derain.ros_testing.observer import ACTIVE, Observer, Status
from ros2_derain.ros_testing.recorder import Recorder

NODES = ("derain_node", "segmentation_node")
TOPICS = (*camera.OUTPUTS, *outputs.OUTPUTS, topics.DIAGNOSTICS)

START_S = 120.0
"""Longest wait for a process to be at work: for the nodes to load and warm up their models."""
DISCOVERY_S = 20.0
FINISH_S = 30.0
"""Longest wait, after the last frame was sent, for the nodes to finish."""
SETTLE_S = 0.5
"""A frame that was sent so long ago has reached its subscribers, or never will."""


@dataclass(frozen=True)
class Playback:
    """What is played.

    Attributes:
        folder: pictures, in the order of their names.
        fps: frames per second.
        frames: how many.
    """

    folder: Path
    fps: float
    frames: int


@dataclass(frozen=True)
class Pipeline:
    """The processes of a pipeline.

    Attributes:
        children: one, or one for each node and one that activates them.
    """

    children: tuple[Child, ...]

    @classmethod
    @contextmanager
    def start(cls, options: Sequence[str], out: Path, two_processes: bool = False) -> Iterator[Pipeline]:
        """Start the processes; they end with the context.

        Args:
            options: as for ``ros2-derain run``.
            out: folder for their logs.
            two_processes: the nodes run apart and exchange their priors over topics.
        """
        with ExitStack() as stack:
            children = tuple(_children(options, out, two_processes))
            for child in children:
                stack.enter_context(child).start()
            yield cls(children)

    def stop(self) -> dict[str, int]:
        """End the processes, the last one first; exit status by name."""
        return {child.name: child.stop() for child in reversed(self.children)}


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


@dataclass(frozen=True)
class Run:
    """What was sent, and what the nodes said at the end.

    Attributes:
        sent: the stamp in ns of every frame that was sent, with its picture's index.
        status: each node's last words, by its name.
    """

    sent: dict[int, int]
    status: dict[str, Status]


def play(
    pipeline: Pipeline, playback: Playback, out: Path, progress: Callable[[], None] = lambda: None
) -> Run:
    """Play to a pipeline that is starting, and record every topic into ``out/bag``.

    Args:
        pipeline: its processes; left running.
        playback: what the camera plays.
        out: folder for the bag and the camera's logs.
        progress: called for each clean image that arrives.

    Raises:
        RosTestingError: something did not come in time; the message says what, and
            shows the end of the log of the process that owes it.
    """

    def received(topic: str, time_ns: int, data: bytes) -> None:
        if topic == outputs.CLEAN_IMAGE.name:
            progress()

    with Observer() as observer:
        recorder = observer.record(out / "bag", TOPICS, received)
        await_active(observer, pipeline)
        sent = send(observer, pipeline, playback, out, subscribers=2)
        await_quiet(observer, recorder)
    return Run(sent, dict(observer.status))


def await_active(observer: Observer, pipeline: Pipeline) -> None:
    """Wait until both nodes are active."""
    for node in NODES:

        def active(node=node) -> bool:
            return observer.state(node) == ACTIVE

        debtors = sorted(pipeline.children, key=lambda child: child.name != node)
        _spin(observer, active, START_S, f"{node} in the state '{ACTIVE}'", *debtors)


def send(
    observer: Observer, pipeline: Pipeline, playback: Playback, out: Path, subscribers: int
) -> dict[int, int]:
    """Play to an active pipeline from a process of its own, until no frame is at hand any more.

    Args:
        observer: is spun meanwhile.
        pipeline: its processes.
        playback: what the camera plays.
        out: folder for the camera's logs.
        subscribers: how many of ``image`` the camera waits for.

    Returns:
        the picture's index by stamp in ns, in the order of sending.
    """
    log = out / "sent.csv"
    arguments = [
        str(playback.folder),
        "--fps",
        str(playback.fps),
        "--frames",
        str(playback.frames),
        "--subscribers",
        str(subscribers),
        "--timeout",
        str(DISCOVERY_S),
        "--log",
        str(log),
    ]
    with Child("the camera", "ros2_derain.ros_testing.camera", arguments, out / "camera.log") as player:
        player.start()
        patience = START_S + DISCOVERY_S + 2 * playback.frames / playback.fps
        _spin(observer, player.ended, patience, "the last frame of the camera", player, *pipeline.children)
        player.require_success()
    _await_idle(observer, pipeline, since_ns=time.time_ns())
    with log.open(newline="") as lines:
        return {int(row["stamp_ns"]): int(row["index"]) for row in csv.DictReader(lines)}


def _await_idle(observer: Observer, pipeline: Pipeline, since_ns: int) -> None:
    """Wait until both nodes have said, after ``since_ns``, that no frame is at hand."""
    settled_ns = since_ns + int(SETTLE_S * 1e9)

    def idle() -> bool:
        return is_idle(observer, settled_ns)

    wanted = "the word of both nodes on /diagnostics that no frame is at hand"
    _spin(observer, idle, FINISH_S, wanted, *pipeline.children)


def is_idle(observer: Observer, settled_ns: int) -> bool:
    """Whether both nodes have reported, after ``settled_ns`` of their clock, that they are idle."""
    found = [observer.status.get(node) for node in NODES]
    return all(status and status.stamp_ns > settled_ns and status.is_idle() for status in found)


def await_quiet(observer: Observer, recorder: Recorder) -> None:
    """Wait until what the nodes published has arrived."""
    counts, changed = recorder.counts.copy(), time.monotonic()

    def quiet() -> bool:
        nonlocal counts, changed
        now = recorder.counts.copy()
        now[topics.DIAGNOSTICS.name] = 0
        if now != counts:
            counts, changed = now, time.monotonic()
        return time.monotonic() - changed > SETTLE_S

    observer.spin_until(quiet, FINISH_S)


def _spin(
    observer: Observer, condition: Callable[[], bool], timeout_s: float, wanted: str, *debtors: Child
) -> None:
    """Spin until the condition holds, while every process that it needs lives.

    The first of them has its log shown when the time is up.
    """

    def done() -> bool:
        if condition():
            return True
        for child in debtors:
            child.require_alive()
        return False

    if not observer.spin_until(done, timeout_s):
        raise RosTestingError(f"{wanted} did not come within {timeout_s:.0f} s{debtors[0].tail()}")
