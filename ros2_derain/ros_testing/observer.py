"""Observes a running pipeline from another process: topics, states, diagnostics; accounts for every frame.

    python -m ros2_derain.ros_testing.observer derain/image derain/trust

runs a process that subscribes reliably to these image topics and ignores their messages.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import ExternalShutdownException
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from ros2_derain.messages import topics
from ros2_derain.messages.topics import DIAGNOSTICS, Topic
from ros2_derain.nodes import runtime
from ros2_derain.nodes.lifecycle_client import LifecycleClient
from ros2_derain.ros_testing.recorder import DEPTH, Recorder

ACTIVE = "active"

RESPONSE_S = 1.0
"""Longest wait for the lifecycle state of a node."""

TRANSPORT, RECORDER = "transport", "recorder"

ObserverType = TypeVar("ObserverType", bound="Observer")


@dataclass(frozen=True)
class Status:
    """The latest diagnostics of a node.

    Attributes:
        stamp_ns: when they were published, by the node's clock.
        level: 0 OK, 1 WARN, 2 ERROR, 3 STALE.
        message: the summary line.
        values: key to value, as text.
    """

    stamp_ns: int
    level: int
    message: str
    values: dict[str, str] = field(default_factory=dict)

    def number(self, key: str) -> float:
        """A value as a number; 0 where it is missing or not a number."""
        try:
            return float(self.values.get(key, 0))
        except ValueError:
            return 0.0

    def numbers(self, prefix: str) -> dict[str, float]:
        """Every value whose key begins with ``prefix``, by the rest of the key."""
        return {key[len(prefix) :]: self.number(key) for key in self.values if key.startswith(prefix)}

    def is_idle(self) -> bool:
        """Whether every frame that the node received is published or dropped."""
        finished = self.number("frames_published") + sum(self.numbers("dropped.").values())
        return self.number("frames_received") == finished


class Observer:
    """A node that only subscribes, and requests lifecycle states. Use it as a context manager.

    Nothing happens between calls of :meth:`spin_until` and :meth:`state`; all callbacks run inside them.

    Args:
        namespace: of the pipeline; diagnostics of others are ignored.
    """

    def __init__(self, namespace: str = "") -> None:
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node("observer", context=self._context, namespace=namespace)
        self._executor = runtime.make_executor(self._context)
        self._executor.add_node(self._node)
        self._stack = contextlib.ExitStack()
        self._client = LifecycleClient(self._node, self.spin_until)
        self.status: dict[str, Status] = {}
        self._node.create_subscription(DiagnosticArray, DIAGNOSTICS.name, self._diagnosed, 50)

    def record(self, path: Path, recorded: Iterable[Topic]) -> Recorder:
        """Record topics into a bag until :meth:`close`; see :class:`Recorder`."""
        return self._stack.enter_context(Recorder(self._node, path, recorded))

    def listen(self, topic: Topic, received: Callable[[int, bytes], None]) -> None:
        """Call ``received`` with the time of reception in ns and each serialized message."""
        qos = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=DEPTH, reliability=ReliabilityPolicy.RELIABLE)
        self._node.create_subscription(
            topic.type, topic.name, lambda data: received(time.time_ns(), data), qos, raw=True
        )

    def publishers(self, topic: Topic) -> int:
        """Number of publishers of a topic."""
        return self._node.count_publishers(self._node.resolve_topic_name(topic.name))

    def subscribers(self, topic: Topic) -> int:
        """Number of subscribers of a topic."""
        return self._node.count_subscribers(self._node.resolve_topic_name(topic.name))

    def state(self, node_name: str) -> str:
        """The lifecycle state of a node, such as ``active``; '' where it does not respond within a second."""
        try:
            return self._client.state(node_name, RESPONSE_S)
        except TimeoutError:
            return ""

    def spin_until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Run callbacks until the condition holds; False on timeout."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            left_s = deadline - time.monotonic()
            if left_s < 0:
                return False
            self._executor.spin_once(timeout_sec=min(0.02, left_s))
        return True

    def close(self) -> None:
        """Complete the bags and leave the ROS graph."""
        try:
            self._stack.close()
        finally:
            self._executor.shutdown()
            self._node.destroy_node()
            self._context.try_shutdown()

    def __enter__(self: ObserverType) -> ObserverType:
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def _diagnosed(self, message: DiagnosticArray) -> None:
        stamp = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
        for status in message.status:
            full_name, _, topic = status.name.partition(": ")
            namespace, _, node_name = f"/{full_name}".rpartition("/")
            if topic == "pipeline" and namespace == self._node.get_namespace().rstrip("/"):
                values = {pair.key: pair.value for pair in status.values}
                level = int.from_bytes(status.level, "little")
                self.status[node_name] = Status(stamp, level, status.message, values)


@dataclass(frozen=True)
class Accounting:
    """Where the frames went.

    Attributes:
        frames_in: frames sent to the node.
        frames_out: frames of its output that were recorded.
        dropped: frames by cause; causes that never occurred are left out.
        problems: contradictions between the counters, a sentence each; empty when there is none.
    """

    frames_in: int
    frames_out: int
    dropped: dict[str, int]
    problems: tuple[str, ...]


def account(frames_in: int, sent: Mapping[int, int], recorded: Sequence[int], status: Status) -> Accounting:
    """Compare the counters of sender, node and recorder.

    The node counts frames received, published, and dropped by cause. Frames that are lost between the
    three add two causes: ``transport`` (sent, never received by the node) and ``recorder`` (published by
    the node, never recorded). Every frame is accounted for when
    ``frames_in == frames_out + sum(dropped.values())``.

    Args:
        frames_in: frames sent to the node.
        sent: how often the camera sent each stamp, in ns; a stamp that it never sent may occur once.
        recorded: stamps of the node's output as it was recorded, in ns.
        status: the node's latest diagnostics, published after the last frame.
    """
    received, published = int(status.number("frames_received")), int(status.number("frames_published"))
    dropped = {cause: int(frames) for cause, frames in status.numbers("dropped.").items()}
    times = Counter(recorded)
    lost = {TRANSPORT: frames_in - received, **dropped, RECORDER: published - len(recorded)}
    problems = [
        f"more frames were received than sent: {cause} is {lost[cause]}"
        for cause in (TRANSPORT, RECORDER)
        if lost[cause] < 0
    ]
    repeated = [stamp for stamp, count in times.items() if count > sent.get(stamp, 1)]
    if repeated:
        problems.append(f"frames published more than once: {len(repeated)}, such as {repeated[0]} ns")
    frames_out = sum(min(count, sent.get(stamp, 1)) for stamp, count in times.items())
    gap = frames_in - frames_out - sum(lost.values())
    if gap:
        problems.append(
            f"frames {'unaccounted for' if gap > 0 else 'accounted for twice'}: {abs(gap)}; "
            f"{frames_in} sent, {received} received, {published} published, {frames_out} recorded, "
            f"dropped by the node: {format_drops(dropped)}"
        )
    return Accounting(frames_in, frames_out, {c: n for c, n in lost.items() if n}, tuple(problems))


def unknown_stamps(topic: str, recorded: Iterable[int], sent: Iterable[int]) -> list[str]:
    """A sentence if a topic has stamps that were never sent; else nothing."""
    unknown = sorted(set(recorded) - set(sent))
    if not unknown:
        return []
    return [f"stamps on {topic} that were never sent: {len(unknown)}, such as {unknown[0]} ns"]


def format_drops(dropped: Mapping[str, int]) -> str:
    """Drops by cause, such as ``replaced 2, transport 1``."""
    return ", ".join(f"{cause} {count}" for cause, count in sorted(dropped.items()) if count) or "none"


def main(names: list[str]) -> None:
    """Subscribe to image topics until SIGINT or SIGTERM."""
    rclpy.init()
    node = rclpy.create_node("subscriber")
    for name in names:
        node.create_subscription(Image, name, lambda message: None, topics.recent())
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(node)
    node.destroy_node()
    rclpy.try_shutdown()


if __name__ == "__main__":
    main(sys.argv[1:])
