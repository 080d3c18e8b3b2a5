"""Writes mcap bags of serialized messages with their type definitions."""

from __future__ import annotations

from pathlib import Path

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.rosbag2.errors import WriterError
from rosbags.typesys import Stores, get_typestore

from ros2_derain.bags import BagError
from ros2_derain.bags.messages import define, type_name_of
from ros2_derain.messages.topics import Topic

WRITE_ERRORS = (OSError, WriterError)
"""What the rosbags library raises where a bag cannot be written."""

_FOREVER = QosTime(9223372036, 854775807)


class BagWriter:
    """A new bag. Use it as a context manager; the bag is complete when it is left.

    Args:
        path: folder of the bag, which must not exist.
        compressed: whether messages are compressed (zstd).

    Raises:
        BagError: the folder exists or cannot be made.
    """

    def __init__(self, path: Path, compressed: bool = True) -> None:
        self.path = path
        self._types = get_typestore(Stores.EMPTY)
        try:
            self._writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
            if compressed:
                self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
            self._writer.open()
        except (OSError, WriterError) as error:
            raise BagError(
                f"cannot record into {path}: {error}; name a folder that does not exist"
            ) from error

    def add(self, name: str, topic: Topic) -> Connection:
        """Declare a topic.

        Args:
            name: absolute.
            topic: its type, and the quality of service that it is published with.

        Raises:
            BagError: the definition of its type is not installed.
        """
        type_name = type_name_of(topic.type)
        define(type_name, self._types)
        return self._writer.add_connection(
            name, type_name, typestore=self._types, offered_qos_profiles=[_offered(topic.qos())]
        )

    def write(self, connection: Connection, received_ns: int, data: bytes) -> None:
        """Write a serialized message.

        Raises:
            BagError: it cannot be written, for example to a full disk.
        """
        try:
            self._writer.write(connection, received_ns, data)
        except WRITE_ERRORS as error:
            raise BagError(f"{self.path} could not be written: {error}") from error

    def abort(self) -> None:
        """Close the files without completing the bag."""
        self._writer.abort()

    def close(self) -> None:
        """Complete the bag.

        Raises:
            BagError: it cannot be written, for example to a full disk.
        """
        try:
            self._writer.close()
        except WRITE_ERRORS as error:
            self._writer.abort()
            raise BagError(f"{self.path} could not be completed: {error}") from error

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(self, *exception) -> None:
        self.close()


def _offered(profile: QoSProfile) -> Qos:
    """A publisher's quality of service as a bag stores it, so that a player can offer the same."""
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
