"""What a drill plays on: a pipeline in processes of its own, and a probe in front of and behind it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ros2_derain.errors import EvaluationError
from ros2_derain.nodes import outputs
from ros2_derain.ros_testing.child_process import Child
from ros2_derain.ros_testing.observer import ACTIVE
from ros2_derain.ros_testing.pipeline_processes import NODES
from ros2_derain.ros_testing.probe import Probe

START_S = 300.0
"""Longest wait for processes to be at work."""
SUBJECT = "ros2_derain.drill.faulty_pipeline"
WHOLE = (outputs.CLEAN_IMAGE, outputs.LABEL_MAP, outputs.DETECTIONS)
NORMAL = ("loop", "dry")
MAX_FPS = 15.0
LISTEN_S = 0.02
"""So often at least the probe listens: it takes cores, which a camera must leave to the pipeline."""
BACK_S = 20.0
"""Longest wait for the first whole frame after a fault."""

STALL_MS = 3000.0

PARAMETERS = {
    "diagnostics_period_s": 0.2,
    "gate": False,
    "recover_after_s": 1.0,
    "warmup_width": 320,
    "warmup_height": 192,
}
"""What differs from the defaults: small pictures, always derained, and quick changes of mode."""


class Shortfall(Exception):
    """The pipeline did not do what is expected of it; the message says what it did."""


@dataclass(frozen=True)
class Subject:
    """What is drilled.

    Attributes:
        model: name or folder.
        device: auto, cpu, cuda or cuda:N.
        out: folder for logs.
        patience: all waits are so many times as long, for machines that others use too.
    """

    model: str
    device: str
    out: Path
    patience: float = 1.0


class Stage:
    """A running pipeline and its probe.

    Args:
        subject: what is drilled.
        probe: is spun by every wait.
        children: the processes by name.
        order: the file that the networks obey; None where they are real.
    """

    def __init__(self, subject: Subject, probe: Probe, stack: ExitStack, order: Path | None) -> None:
        self.subject, self.probe, self.order = subject, probe, order
        self.children: dict[str, Child] = {}
        self.fps = 5.0
        self._stack, self._due, self._listened = stack, 0.0, 0.0

    # Processes

    def start(self, name: str, module: str, arguments: Sequence[str]) -> Child:
        """Start a process of the pipeline, in place of one of the same name that has ended."""
        number = len(list(self.subject.out.glob("*.log")))
        child = Child(name, module, arguments, self.subject.out / f"{number:02}-{name}.log")
        self._stack.enter_context(child).start()
        self.children[name] = child
        return child

    def await_active(self, *nodes: str, timeout_s: float = START_S) -> None:
        """Wait until the nodes say that they are active."""
        for node in nodes or NODES:
            if not self.probe.spin_until(
                lambda node=node: self.probe.state(node) == ACTIVE or self._dead(), timeout_s
            ):
                raise EvaluationError(f"{node} was not active within {timeout_s:.0f} s{self._tails()}")
            for child in self.children.values():
                child.require_alive()

    def obey(self, order: str) -> None:
        """Have the networks fail from now on; '' mends them."""
        partial = self.order.with_suffix(".partial")
        partial.write_text(order)
        partial.replace(self.order)

    # Frames

    def wait(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Send nothing until a condition holds; whether it did."""
        return self.probe.spin_until(condition, timeout_s * self.subject.patience)

    def drive(self, condition: Callable[[], bool], timeout_s: float, **frame) -> bool:
        """Send frames at the stage's pace until a condition holds; whether it did.

        Args:
            condition: looked at between frames.
            timeout_s: longest wait.
            frame: as for :meth:`Probe.send`.
        """
        end = time.monotonic() + timeout_s * self.subject.patience
        while not condition():
            if time.monotonic() > end:
                return False
            self._pause(condition)
            if time.monotonic() >= self._due:
                self._due = time.monotonic() + 1 / self.fps
                self.probe.send(**frame)
        return True

    def _pause(self, condition: Callable[[], bool]) -> None:
        """Wait until the next frame is due; between frames in quick succession, mostly without listening."""
        now = time.monotonic()
        if self._due < self._listened + LISTEN_S:
            time.sleep(max(0.0, self._due - now))
        else:
            self._listened = now
            self.probe.spin_until(condition, max(0.001, self._due - now))

    def drive_for(self, seconds: float, **frame) -> list[int]:
        """Send frames at the stage's pace for so long; their stamps."""
        known = set(self.probe.sent)
        end = time.monotonic() + seconds
        self.drive(lambda: time.monotonic() > end, seconds + 60, **frame)
        return [stamp for stamp in self.probe.sent if stamp not in known]

    def is_whole(self, stamp: int) -> bool:
        """Whether a frame came out with image, labels and detections."""
        return all(self.probe.heard(topic, stamp) for topic in WHOLE)

    def recovery(self, limit_s: float, **frame) -> float:
        """Seconds until a frame that is sent from now on comes out whole, in a normal mode.

        Raises:
            Shortfall: none did within the limit.
        """
        began, known = time.monotonic(), len(self.probe.sent)

        def well() -> bool:
            fresh = list(self.probe.sent)[known:]
            return self.probe.modes[-1:] and self.probe.modes[-1] in NORMAL and any(map(self.is_whole, fresh))

        if not self.drive(lambda: bool(well()), limit_s, **frame):
            mode = self.probe.modes[-1] if self.probe.modes else "unknown"
            raise Shortfall(
                f"not back within {limit_s * self.subject.patience:.0f} s; mode {mode}; {self.said()}"
            )
        return time.monotonic() - began

    def said(self, node: str = "derain_node") -> str:
        """What a node's diagnostics last said."""
        status = self.probe.status.get(node)
        return status.message if status else "no diagnostics"

    def require(self, text: str, node: str = "derain_node", timeout_s: float = 15.0, **frame) -> str:
        """Drive until a node's diagnostics say ``text``; the whole message.

        Raises:
            Shortfall: they did not.
        """
        if not self.drive(lambda: text in self.said(node), timeout_s, **frame):
            raise Shortfall(f"diagnostics never said {text!r}, but {self.said(node)!r}")
        return self.said(node)

    def counted(self, key: str, node: str = "derain_node") -> int:
        """A counter of a node's diagnostics."""
        status = self.probe.status.get(node)
        return int(status.number(key)) if status else 0

    def settle(self, timeout_s: float = 20.0) -> bool:
        """Send nothing until the books of derain_node balance; whether they came to."""

        def balanced() -> bool:
            status = self.probe.status.get("derain_node")
            dropped = sum(status.numbers("dropped.").values()) if status else 0
            return bool(status) and status.number("frames_received") == (
                status.number("frames_published") + dropped
            )

        pause = time.monotonic() + 0.5
        return self.wait(lambda: time.monotonic() > pause and balanced(), timeout_s)

    def meet(self) -> None:
        """Drive until the first frame is out, then find a pace that the machine can keep up with."""
        if not self.probe.spin_until(self.probe.connected, START_S):
            raise EvaluationError(f"camera and pipeline did not find each other{self._tails()}")
        self.recovery(START_S)
        self.fps = min(MAX_FPS, 0.5 * self.capacity(6))

    def capacity(self, frames: int) -> float:
        """Frames per second when each is sent as soon as the one before is out."""
        began = time.monotonic()
        for _ in range(frames):
            stamp = self.probe.send()
            self.wait(lambda stamp=stamp: self.is_whole(stamp), 20.0)
        return frames / (time.monotonic() - began)

    def _dead(self) -> bool:
        return any(child.ended() for child in self.children.values())

    def _tails(self) -> str:
        return "".join(child.tail() for child in self.children.values())


@contextmanager
def composed(subject: Subject, largest_file: int = 0) -> Iterator[Stage]:
    """One process, active and met; its networks obey orders.

    Args:
        subject: what is drilled.
        largest_file: the process may make none above so many bytes; 0: any.
    """
    with _empty(subject, with_orders=True) as stage:
        limit = [f"--largest-file={largest_file}"] if largest_file else []
        stage.start("pipeline", SUBJECT, [str(stage.order), *limit, *ros_arguments(subject)])
        stage.await_active()
        stage.meet()
        yield stage


@contextmanager
def two_processes(subject: Subject) -> Iterator[Stage]:
    """A process for each node and one that activates them, active and met."""
    with _empty(subject) as stage:
        for node in NODES:
            start_node(stage, node)
        stage.start("autostart", "ros2_derain.nodes.autostart", tuple(reversed(NODES)))
        stage.await_active()
        stage.meet()
        yield stage


@contextmanager
def _empty(subject: Subject, with_orders: bool = False) -> Iterator[Stage]:
    with ExitStack() as stack:
        order = subject.out / "order" if with_orders else None
        stage = Stage(subject, stack.enter_context(Probe()), stack, order)
        if order is not None:
            stage.obey("")
        yield stage


def start_node(stage: Stage, node: str) -> Child:
    """Start one of two processes, as launch does when it respawns one."""
    return stage.start(node, f"ros2_derain.nodes.{node}", ros_arguments(stage.subject))


def ros_arguments(subject: Subject, **parameters) -> list[str]:
    """The parameters of both nodes as ROS arguments."""
    given = {"model": subject.model, "device": subject.device, "stall_ms": STALL_MS * subject.patience}
    values = {**PARAMETERS, **given, **parameters}
    flags = (("-p", f"{name}:={str(v).lower() if isinstance(v, bool) else v}") for name, v in values.items())
    return ["--ros-args", *(part for flag in flags for part in flag)]
