"""Observes a running pipeline from another process: its topics, states and diagnostics.

    python -m ros2_derain.ros_testing.observer derain/image derain/trust

runs a process that subscribes reliably to these image topics and ignores their messages.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import GetState
from rclpy.client import Client
from rclpy.executors import ExternalShutdownException
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.task import Future
from sensor_msgs.msg import Image

from ros2_derain.nodes import runtime, topics
from ros2_derain.nodes.topics import DIAGNOSTICS, Topic
from ros2_derain.ros_testing.recorder import DEPTH, Recorder

ACTIVE = "active"

_REPEAT_S = 1.0
"""A request is repeated after this long without a response."""

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
    """A node that only subscribes and asks. Use it as a context manager.

    Nothing happens between calls of :meth:`spin_until`; all callbacks run inside it.

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
        self._states: dict[str, _State] = {}
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
        """The latest known lifecycle state of a node, such as ``active``; '' while it is unknown.

        Requests the state; the response arrives in a later :meth:`spin_until`.
        """
        if node_name not in self._states:
            client: Client = self._node.create_client(GetState, f"{node_name}/get_state")
            self._states[node_name] = _State(client)
        return self._states[node_name].poll()

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


class _State:
    """Requests the lifecycle state of one node, one request at a time."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._request: Future[Any] | None = None
        self._sent_at = 0.0
        self._label = ""

    def poll(self) -> str:
        request = self._request
        if request is not None and (request.done() or time.monotonic() - self._sent_at > _REPEAT_S):
            response = request.result() if request.done() else None
            if response is not None:
                self._label = response.current_state.label
            else:
                self._client.remove_pending_request(request)
            self._request = None
        if self._request is None and self._client.service_is_ready():
            self._request = self._client.call_async(GetState.Request())
            self._sent_at = time.monotonic()
        return self._label


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
