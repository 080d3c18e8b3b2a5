"""What every writer of mcap bags needs: definitions of messages, quality of service, stamps."""

from __future__ import annotations

import struct
from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
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
from rosbags.typesys import get_types_from_msg
from rosbags.typesys.store import Typestore

_FOREVER = QosTime(9223372036, 854775807)


class WritingError(Exception):
    """The bag cannot be written; the message says why and what to do."""


def stamp_of(data: bytes) -> int:
    """Stamp in ns of a serialized message that begins with a ``std_msgs/Header``."""
    byte_order = "<" if data[1] & 1 else ">"
    seconds, nanoseconds = struct.unpack_from(byte_order + "iI", data, 4)
    return seconds * 1_000_000_000 + nanoseconds


def define(message: type, store: Typestore) -> str:
    """Add a message class and all it is made of to a type store; returns the type's name.

    The definitions are those of the installed packages, so that they fit the class.

    Raises:
        WritingError: its package or definition is not installed.
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
        raise WritingError(
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
    """A new, compressed mcap bag in a folder that must not exist; raises WritingError."""
    try:
        writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
        writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        writer.open()
    except (OSError, WriterError) as error:
        raise WritingError(
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
