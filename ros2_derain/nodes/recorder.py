"""Records topics into an mcap bag, as serialized messages, with their definitions.

Readable by ``ros2 bag``, Foxglove and the rosbags library. Messages are neither
deserialized nor converted; a thread of its own compresses and writes them, so that
recording hardly disturbs what is measured.
"""

from __future__ import annotations

import queue
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.rosbag2.errors import WriterError
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from ros2_derain.nodes.topics import Topic

DEPTH = 200
"""Messages of one topic that may wait for this process."""

_MAX_QUEUED = 2000
_FOREVER = QosTime(9223372036, 854775807)


class RecorderError(Exception):
    """The bag cannot be written; the message says why and what to do."""


class Recorder:
    """Subscribes to topics and writes what comes into a bag.

    Use it as a context manager; the bag is complete when it is left.

    Args:
        node: subscribes; spin it. Names are resolved by it (namespace, remappings).
        path: folder of the bag, which must not exist.
        topics: what to record, each with the reliability and durability it is
            published with.
        received: called with the topic's relative name, the time of reception and the
            serialized message, from the thread that spins the node.

    Raises:
        RecorderError: the folder exists or can't be made, or a message type's
            definition is not installed.
    """

    def __init__(
        self,
        node: Node,
        path: Path,
        topics: Iterable[Topic],
        received: Callable[[str, int, bytes], None] = lambda name, time_ns, data: None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._node = node
        self._received = received
        self._queue: queue.Queue = queue.Queue(_MAX_QUEUED)
        self._failure: Exception | None = None
        self._writer = open_bag(path)
        store = get_typestore(Stores.EMPTY)
        self._subscriptions = [self._subscribe(topic, store) for topic in topics]
        self._thread = threading.Thread(target=self._write, name="recorder", daemon=True)
        self._thread.start()

    def unmatched(self) -> list[str]:
        """Resolved names of the topics that nobody publishes yet."""
        return [s.topic_name for s in self._subscriptions if not self._node.count_publishers(s.topic_name)]

    def close(self) -> None:
        """Write what still waits, and complete the bag.

        Raises:
            RecorderError: a message could not be written, for example to a full disk.
        """
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._queue.put(None)
        self._thread.join()
        if self._failure is None:
            self._writer.close()
        else:
            self._writer.abort()
            raise RecorderError(
                f"{self._writer.path} could not be written: {self._failure}"
            ) from self._failure

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def _subscribe(self, topic: Topic, store: Typestore):
        offered = topic.qos()
        type_name = define(topic.type, store)
        connection = self._writer.add_connection(
            self._node.resolve_topic_name(topic.name),
            type_name,
            typestore=store,
            offered_qos_profiles=[described(offered)],
        )

        def receive(data: bytes) -> None:
            now = time.time_ns()
            self.counts[topic.name] += 1
            self._queue.put((connection, now, data))
            self._received(topic.name, now, data)

        wanted = QoSProfile(
            history=HistoryPolicy.KEEP_LAST,
            depth=DEPTH,
            reliability=offered.reliability,
            durability=offered.durability,
        )
        return self._node.create_subscription(topic.type, topic.name, receive, wanted, raw=True)

    def _write(self) -> None:
        while (item := self._queue.get()) is not None:
            if self._failure is None:
                try:
                    self._writer.write(*item)
                except (OSError, WriterError) as error:
                    self._failure = error


def stamp_of(data: bytes) -> int:
    """Stamp in ns of a serialized message that begins with a ``std_msgs/Header``."""
    byte_order = "<" if data[1] & 1 else ">"
    seconds, nanoseconds = struct.unpack_from(byte_order + "iI", data, 4)
    return seconds * 1_000_000_000 + nanoseconds


def define(message: type, store: Typestore) -> str:
    """Add a message class and all it is made of to a type store; returns the type's name.

    The definitions are those of the installed packages, so that they fit the class.

    Raises:
        RecorderError: its package or definition is not installed.
    """
    package = message.__module__.split(".")[0]
    name = f"{package}/msg/{message.__name__}"
    missing = [name]
    while missing:
        current = missing.pop()
        if current in store.fielddefs:
            continue
        found = get_types_from_msg(_definition(current), current)
        store.register(found)
        missing.extend(_parts(found))
    return name


def _definition(name: str) -> str:
    package, _, base = name.split("/")
    try:
        path = Path(get_package_share_directory(package)) / "msg" / f"{base}.msg"
        return path.read_text(encoding="utf-8")
    except (PackageNotFoundError, OSError) as error:
        raise RecorderError(
            f"the definition of {name} is not installed ({error}): install the ROS package {package}"
        ) from error


def _parts(types: dict) -> set[str]:
    """Names of the message types that the fields of ``types`` are made of."""
    found = set()
    for _, fields in types.values():
        waiting = [description for _, description in fields]
        while waiting:
            kind, inner = waiting.pop()
            if kind.name == "NAME":
                found.add(inner)
            elif kind.name in ("ARRAY", "SEQUENCE"):
                waiting.append(inner[0])
    return found


def open_bag(path: Path) -> Writer:
    """A new, compressed mcap bag in a folder that must not exist; raises RecorderError."""
    try:
        writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
        writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        writer.open()
    except (OSError, WriterError) as error:
        raise RecorderError(
            f"cannot record into {path}: {error}; name a folder that does not exist"
        ) from error
    return writer


def described(profile: QoSProfile) -> Qos:
    """What the bag says of a publisher, so that a player can offer the same."""
    reliable = profile.reliability == ReliabilityPolicy.RELIABLE
    latched = profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
    return Qos(
        QosHistory.KEEP_LAST,
        profile.depth,
        QosReliability.RELIABLE if reliable else QosReliability.BEST_EFFORT,
        QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        _FOREVER,
        _FOREVER,
        QosLiveliness.AUTOMATIC,
        _FOREVER,
        False,
    )
