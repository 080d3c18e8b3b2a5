"""Records topics into an mcap bag, as serialized messages, with their definitions.

Readable by ``ros2 bag``, Foxglove and the rosbags library. Messages are neither
deserialized nor converted; a separate thread compresses and writes them, so that
recording hardly disturbs what is measured.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile

from ros2_derain.bags import BagError
from ros2_derain.bags.writing import BagWriter
from ros2_derain.messages.topics import Topic

DEPTH = 200
"""Queue of each subscription."""

_MAX_QUEUED = 2000
"""Messages that wait to be written; who receives more waits."""


class Recorder:
    """Subscribes to topics and writes their messages into a bag.

    Use it as a context manager; the bag is complete when it is left.

    Args:
        node: subscribes; spin it. Names are resolved by it (namespace, remappings).
        path: folder of the bag, which must not exist.
        topics: what to record, each with the reliability and durability it is
            published with.

    Raises:
        BagError: the folder exists or can't be made, or a message type's definition is not installed.
    """

    def __init__(self, node: Node, path: Path, topics: Iterable[Topic]) -> None:
        self.counts: Counter[str] = Counter()
        self._node = node
        self._queue: queue.SimpleQueue = queue.SimpleQueue()  # a signal within Queue.put may break it
        self._failure: BagError | None = None
        self._writer = BagWriter(path)
        self._subscriptions = [self._subscribe(topic) for topic in topics]
        self._thread = threading.Thread(target=self._write, name="recorder", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write the queued messages, and complete the bag.

        Raises:
            BagError: a message could not be written, for example to a full disk.
        """
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._queue.put(None)
        self._thread.join()
        if self._failure is not None:
            self._writer.abort()
            raise self._failure
        self._writer.close()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def _subscribe(self, topic: Topic):
        offered = topic.qos()
        connection = self._writer.add(self._node.resolve_topic_name(topic.name), topic)

        def receive(data: bytes) -> None:
            self.counts[topic.name] += 1
            while self._queue.qsize() >= _MAX_QUEUED:  # no condition to wait for survives a signal
                time.sleep(0.001)
            self._queue.put((connection, time.time_ns(), data))

        qos = QoSProfile(
            history=HistoryPolicy.KEEP_LAST,
            depth=DEPTH,
            reliability=offered.reliability,
            durability=offered.durability,
        )
        return self._node.create_subscription(topic.type, topic.name, receive, qos, raw=True)

    def _write(self) -> None:
        while (item := self._queue.get()) is not None:
            if self._failure is None:
                try:
                    self._writer.write(*item)
                except BagError as error:
                    self._failure = error
