"""The pipeline under test: its processes, a probe that sends frames and receives outputs, and checks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ros2_derain.drill import CheckFailed, DrillError
from ros2_derain.messages.topics import Topic
from ros2_derain.nodes import outputs, run
from ros2_derain.ros_testing.probe import Probe
from ros2_derain.ros_testing.processes import NODES, Child, await_active

START_S = 300.0
"""Longest wait until processes are active."""
RECOVER_S = 20.0
"""Longest wait for the first complete frame after a fault."""
RESPAWN_S = 60.0
"""The same where a process starts again: it loads Python, torch and the model, and warms up."""
SETTLE_S = 0.5
"""A frame sent this long ago has reached the pipeline, or never will."""

PIPELINE = "ros2_derain.drill.faulty_pipeline"
COMPLETE = (outputs.CLEAN_IMAGE, outputs.LABEL_MAP, outputs.DETECTIONS)
NORMAL_MODES = ("loop", "dry")
MAX_FPS = 15.0
LISTEN_S = 0.02
"""Longest time between callbacks of the probe: each costs CPU time, which should go to the pipeline."""

STALL_MS = 3000.0

PARAMETERS = {
    "diagnostics_period_s": 0.2,
    "gate": False,
    "recover_after_s": 1.0,
    "warmup_width": 320,
    "warmup_height": 192,
}
"""What differs from the defaults: small images, always derained, and quick changes of mode."""


@dataclass(frozen=True)
class Settings:
    """What is tested.

    Attributes:
        model: name or folder.
        device: auto, cpu, cuda or cuda:N.
        out: folder for logs.
        patience: factor on all timeouts, for machines that others use too.
        runtime: what runs the networks.
    """

    model: str
    device: str
    out: Path
    patience: float = 1.0
    runtime: str = "auto"


class TestPipeline:
    """A running pipeline and its probe.

    Args:
        settings: what is tested.
        probe: is spun by every wait.
        stack: ends the processes.
        fault_file: read by the networks of :mod:`faulty_pipeline`; None where the networks are real.
    """

    __test__ = False  # no class of tests to pytest

    def __init__(self, settings: Settings, probe: Probe, stack: ExitStack, fault_file: Path | None) -> None:
        self.settings, self.probe = settings, probe
        self.children: dict[str, Child] = {}
        self.fps = 5.0
        self._stack, self._fault_file = stack, fault_file
        self._due, self._listened = 0.0, 0.0

    # Processes

    def start(self, name: str, module: str, arguments: Sequence[str]) -> Child:
        """Start a process; it replaces one of the same name that has ended."""
        number = len(list(self.settings.out.glob("*.log")))
        child = Child(name, module, arguments, self.settings.out / f"{number:02}-{name}.log")
        self._stack.enter_context(child).start()
        self.children[name] = child
        return child

    def start_composed(self, name: str, *options: str, **parameters: Any) -> Child:
        """Start a composed pipeline whose networks fail on command."""
        arguments = [str(self._fault_file), *options, *ros_arguments(self.settings, **parameters)]
        return self.start(name, PIPELINE, arguments)

    def start_node(self, node: str) -> Child:
        """Start one of two processes, as launch does when it respawns one."""
        return self.start(node, f"ros2_derain.nodes.{node}", ros_arguments(self.settings))

    def stop(self, name: str) -> None:
        """End a process."""
        self.children.pop(name).stop()

    def set_fault(self, fault: str) -> None:
        """Make the networks fail from now on, see :mod:`faulty_pipeline`; '' ends the fault."""
        if self._fault_file is None:
            raise DrillError("the networks of this pipeline are real: faults need a composed pipeline")
        incomplete = self._fault_file.with_suffix(".partial")
        incomplete.write_text(fault)
        incomplete.replace(self._fault_file)

    def wait_until_ready(self) -> None:
        """Wait until both nodes are active and the first frame is out, then set a rate they keep up with."""
        await_active(self.probe, tuple(self.children.values()), START_S)
        if not self.probe.spin_until(self.probe.connected, START_S):
            raise DrillError(f"camera and pipeline did not discover each other{self._tails()}")
        self.recovery_s(START_S)
        self.fps = min(MAX_FPS, 0.5 * self.throughput(6))

    # Frames

    def wait(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until a condition holds, without sending frames; False on timeout."""
        return self.probe.spin_until(condition, timeout_s * self.settings.patience)

    def send_until(self, condition: Callable[[], bool], timeout_s: float, **frame: Any) -> bool:
        """Send frames at the current rate until a condition holds; False on timeout.

        Args:
            condition: checked between frames.
            timeout_s: longest wait.
            frame: as for :meth:`Probe.send`.
        """
        end = time.monotonic() + timeout_s * self.settings.patience
        while not condition():
            if time.monotonic() > end:
                return False
            self._wait_until_due(condition)
            if time.monotonic() >= self._due:
                self._due = time.monotonic() + 1 / self.fps
                self.probe.send(**frame)
        return True

    def _wait_until_due(self, condition: Callable[[], bool]) -> None:
        """Wait for the time of the next frame; at high rates, mostly without running callbacks."""
        now = time.monotonic()
        if self._due < self._listened + LISTEN_S:
            time.sleep(max(0.0, self._due - now))
        else:
            self._listened = now
            self.probe.spin_until(condition, max(0.001, self._due - now))

    def send_for(self, seconds: float, **frame: Any) -> list[int]:
        """Send frames at the current rate for some seconds; returns their stamps."""
        known = set(self.probe.sent)
        end = time.monotonic() + seconds
        self.send_until(lambda: time.monotonic() > end, seconds + 60, **frame)
        return [stamp for stamp in self.probe.sent if stamp not in known]

    def throughput(self, frames: int) -> float:
        """Frames per second when each is sent as soon as the one before is complete."""
        began = time.monotonic()
        for _ in range(frames):
            self.wait_until_complete(self.probe.send())
        return frames / (time.monotonic() - began)

    def is_complete(self, stamp: int) -> bool:
        """Whether image, labels and detections of a frame are out."""
        return all(self.probe.has_output(topic, stamp) for topic in COMPLETE)

    def wait_until_complete(self, stamp: int) -> bool:
        """Wait, without sending, until a frame is complete; False after 20 s."""
        return self.wait(partial(self.is_complete, stamp), 20.0)

    def ages_s(self, sent: Sequence[int]) -> list[float]:
        """Seconds from sending to reception of the clean image, for those of the frames that have one.

        Raises:
            CheckFailed: none has one.
        """
        stamps, received = set(sent), self.probe.received[outputs.CLEAN_IMAGE.name]
        ages = [r.at - self.probe.sent[r.stamp_ns].at for r in received if r.stamp_ns in stamps]
        if not ages:
            raise CheckFailed("no frame came out")
        return ages

    # Checks

    def settle(self, timeout_s: float = 20.0) -> bool:
        """Wait, without sending, until derain_node has accounted for every frame; False on timeout."""
        after_ns = time.time_ns() + int(SETTLE_S * 1e9)

        def settled() -> bool:
            status = self.probe.status.get("derain_node")
            return status is not None and status.stamp_ns > after_ns and status.is_idle()

        return self.wait(settled, timeout_s)

    def require_settled(self, timeout_s: float = 20.0) -> None:
        """Wait as :meth:`settle` does.

        Raises:
            CheckFailed: derain_node did not account for every frame.
        """
        if not self.settle(timeout_s):
            raise CheckFailed("the counters of derain_node do not account for every frame")

    def recovery_s(self, limit_s: float, **frame: Any) -> float:
        """Seconds until a frame that is sent from now on is complete, in a normal mode.

        Raises:
            CheckFailed: none is within the limit.
        """
        began, known = time.monotonic(), len(self.probe.sent)

        def recovered() -> bool:
            sent = list(self.probe.sent)[known:]
            return self.probe.mode() in NORMAL_MODES and any(map(self.is_complete, sent))

        if not self.send_until(recovered, limit_s, **frame):
            raise CheckFailed(
                f"no recovery within {limit_s * self.settings.patience:.0f} s; "
                f"mode {self.probe.mode()}; {self.message()}"
            )
        return time.monotonic() - began

    def require_output(self, sent: Sequence[int], topic: Topic = outputs.CLEAN_IMAGE) -> int:
        """How many of the frames have an output on a topic.

        Raises:
            CheckFailed: none has within 10 s.
        """

        def count() -> int:
            return sum(self.probe.has_output(topic, stamp) for stamp in sent)

        if not self.wait(lambda: count() > 0, 10.0):
            raise CheckFailed(f"nothing came out on {topic.name}; mode {self.probe.mode()}; {self.message()}")
        return count()

    def message(self, node: str = "derain_node") -> str:
        """The summary line of a node's latest diagnostics."""
        status = self.probe.status.get(node)
        return status.message if status else "no diagnostics"

    def require_message(
        self,
        text: str,
        node: str = "derain_node",
        timeout_s: float = 15.0,
        silent: bool = False,
        **frame: Any,
    ) -> str:
        """Send frames until a node's diagnostics contain ``text``; returns the summary line.

        Args:
            text: part of the summary line.
            node: whose diagnostics.
            timeout_s: longest wait.
            silent: send nothing meanwhile.
            frame: as for :meth:`Probe.send`.

        Raises:
            CheckFailed: they did not within the timeout.
        """
        found: list[str] = []

        def contains() -> bool:
            if text in self.message(node):
                found.append(self.message(node))
            return bool(found)

        if not (self.wait(contains, timeout_s) if silent else self.send_until(contains, timeout_s, **frame)):
            raise CheckFailed(
                f"diagnostics of {node} never contained {text!r}, the last are {self.message(node)!r}"
            )
        return found[-1]

    def counter(self, key: str) -> int:
        """A counter in derain_node's latest diagnostics."""
        status = self.probe.status.get("derain_node")
        return int(status.number(key)) if status else 0

    def require_count(self, key: str, before: int) -> int:
        """By how much a counter has grown, once every frame is accounted for.

        Raises:
            CheckFailed: not at all.
        """
        self.settle()
        if self.counter(key) <= before:
            raise CheckFailed(f"the counter {key} did not grow")
        return self.counter(key) - before

    def set_parameters(self, **values: Any) -> None:
        """Set parameters of derain_node.

        Raises:
            CheckFailed: one was refused.
        """
        for name, value in values.items():
            accepted, reason = self.probe.set_parameter("derain_node", name, value)
            if not accepted:
                raise CheckFailed(f"{name}={value} was refused: {reason}")

    def change_state(self, node: str, *transitions: str) -> None:
        """Make a node pass lifecycle transitions.

        Raises:
            CheckFailed: one failed.
        """
        for transition in transitions:
            if not self.probe.change(node, transition):
                raise CheckFailed(f"{node} did not {transition}")

    def _tails(self) -> str:
        return "".join(child.tail() for child in self.children.values())


@contextmanager
def composed(settings: Settings, largest_file: int = 0) -> Iterator[TestPipeline]:
    """One process, ready; its networks fail on command.

    Args:
        settings: what is tested.
        largest_file: size limit in bytes for files of the process; 0: none.
    """
    fault_file = settings.out / "fault"
    fault_file.write_text("")
    with ExitStack() as stack:
        pipeline = TestPipeline(settings, stack.enter_context(Probe()), stack, fault_file)
        pipeline.start_composed("pipeline", *([f"--largest-file={largest_file}"] if largest_file else []))
        pipeline.wait_until_ready()
        yield pipeline


@contextmanager
def two_processes(settings: Settings) -> Iterator[TestPipeline]:
    """A process per node and one that activates them, ready."""
    with ExitStack() as stack:
        pipeline = TestPipeline(settings, stack.enter_context(Probe()), stack, None)
        for node in NODES:
            pipeline.start_node(node)
        pipeline.start("autostart", "ros2_derain.nodes.autostart", tuple(reversed(NODES)))
        pipeline.wait_until_ready()
        yield pipeline


def ros_arguments(settings: Settings, **parameters: Any) -> list[str]:
    """The parameters of both nodes as ROS arguments."""
    given = {name: getattr(settings, name) for name in ("model", "device", "runtime")}
    given["stall_ms"] = STALL_MS * settings.patience
    return ["--ros-args", *run.parameter_arguments({**PARAMETERS, **given, **parameters})]


@dataclass(frozen=True)
class Outcome:
    """How the pipeline reacted to a fault, as expected.

    Attributes:
        text: what it did.
        recovered_s: from the end of the fault to the first complete frame; None where there is nothing
            to recover from.
    """

    text: str
    recovered_s: float | None = None


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        name: for ``--only``.
        expected: what the pipeline should do.
        inject: injects it and checks the reaction; raises CheckFailed where it is not the expected one.
        pipeline: starts the pipeline for it, which is shared by faults with the same one.
        instances: how many pipelines may publish outputs of a frame.
        long: arguments of ``inject`` for the long form of the drill.
    """

    name: str
    expected: str
    inject: Callable[..., Outcome]
    pipeline: Callable[[Settings], AbstractContextManager[TestPipeline]]
    instances: int = 1
    long: Mapping[str, Any] = field(default_factory=dict)


def fault(expected: str, pipeline: Callable = composed, **options: Any) -> Callable[[Callable], Fault]:
    """A decorator: the function that injects a fault becomes a :class:`Fault` of the same name.

    Args:
        expected, pipeline, options: as for :class:`Fault`.
    """
    return lambda inject: Fault(inject.__name__.replace("_", "-"), expected, inject, pipeline, **options)
