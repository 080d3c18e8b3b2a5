"""Reads a rosbag2 bag: mcap or sqlite3, a folder or a file, of any year, whole or cut off."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader
from rosbags.rosbag2.errors import ReaderError
from rosbags.typesys import Stores, get_typestore

from ros2_derain.bags.recovery import MendedFile, is_cut, profile_of
from ros2_derain.errors import EvaluationError

try:
    from apsw import Error as DatabaseError
except ImportError:  # an older rosbags reads with the standard library
    from sqlite3 import Error as DatabaseError

STORAGES = (".mcap", ".db3")
METADATA = "metadata.yaml"
TYPES = get_typestore(Stores.ROS2_KILTED)
"""Definitions of the standard messages."""

_UNREADABLE = (
    ReaderError, DatabaseError, sqlite3.Error, OSError, struct.error, ValueError, TypeError, KeyError
)  # fmt: skip


class BagBreaksOff(EvaluationError):
    """A bag could be read so far and no further; the message says why."""


@dataclass(frozen=True)
class Topic:
    """A topic of a bag.

    Attributes:
        name, type: such as ``/camera/image_raw`` and ``sensor_msgs/msg/Image``.
        messages: how many.
    """

    name: str
    type: str
    messages: int


@dataclass(frozen=True)
class Message:
    """A message of a bag.

    Attributes:
        topic, type: as in :class:`Topic`.
        received_ns: when the recorder got it.
        raw: serialized.
    """

    topic: str
    type: str
    received_ns: int
    raw: bytes


class BagReader:
    """A bag. Use it as a context manager.

    Args:
        path: its folder, or a storage file. Of a folder without ``metadata.yaml`` every
            storage file is read.
        mend: read an mcap that was cut off up to the cut, instead of refusing it.

    Raises:
        EvaluationError: when it is opened: it cannot be read as a ROS 2 bag.

    Attributes:
        cuts: what is missing from a bag that was mended, a sentence each.
    """

    def __init__(self, path: Path, mend: bool = False) -> None:
        self.path = path
        self.cuts: list[str] = []
        self._mend = mend
        self._readers: list[Reader] = []
        self._stack = ExitStack()

    @property
    def connections(self) -> list[Connection]:
        """Topics as the storage declares them; a topic may occur more than once."""
        return [connection for reader in self._readers for connection in reader.connections]

    @property
    def topics(self) -> list[Topic]:
        """Every topic, by name."""
        counts: dict[tuple[str, str], int] = {}
        for connection in self.connections:
            key = connection.topic, type_of(connection)
            counts[key] = counts.get(key, 0) + connection.msgcount
        return [Topic(name, kind, count) for (name, kind), count in sorted(counts.items())]

    @property
    def span_ns(self) -> tuple[int, int]:
        """Reception of the first and the last message; (0, 0) of an empty bag."""
        filled = [reader for reader in self._readers if reader.message_count]
        if not filled:
            return 0, 0
        return min(r.start_time for r in filled), max(r.end_time for r in filled) - 1

    @property
    def storage(self) -> str:
        """``mcap`` or ``sqlite3``."""
        return storage_of(self.path)

    def messages(self, topics: Iterable[str] | None = None) -> Iterator[Message]:
        """The messages of some topics (None: of all), in the order of reception.

        Raises:
            BagBreaksOff: what comes next cannot be read.
        """
        chosen = None if topics is None else set(topics)
        count = 0
        for reader in sorted(self._readers, key=lambda reader: reader.start_time):
            wanted = [c for c in reader.connections if chosen is None or c.topic in chosen]
            if not wanted:
                continue
            try:
                for connection, received_ns, raw in reader.messages(wanted):
                    count += 1
                    yield Message(connection.topic, type_of(connection), received_ns, bytes(raw))
            except _UNREADABLE as error:
                raise BagBreaksOff(f"{self.path} breaks off after {count} messages: {error}") from error

    def decode(self, message: Message) -> Any:
        """The message with its fields; of the standard types only.

        Raises:
            ValueError, KeyError, struct.error and others of the serialization: it is damaged.
        """
        return TYPES.deserialize_cdr(message.raw, message.type)

    def __enter__(self) -> BagReader:
        if self.path.suffix == ".bag":
            raise EvaluationError(
                f"{self.path} is a ROS 1 bag: convert it with "
                f"'rosbags-convert --src {self.path.name} --dst {self.path.stem}'"
            )
        try:
            self._open()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *exception) -> None:
        self._stack.close()

    def _open(self) -> None:
        """The folder as it describes itself; where that fails, and mending is wanted, its files."""
        described = self.path.is_dir() and (self.path / METADATA).is_file()
        try:
            self._readers = [self._opened(source) for source in ([self.path] if described else self._files())]
        except EvaluationError:
            if not (described and self._mend):
                raise
            self._readers = [self._opened(source) for source in self._files()]

    def _files(self) -> Sequence[Path]:
        if not self.path.is_dir():
            return [self.path]
        files = storage_files(self.path)
        if not files:
            raise EvaluationError(
                f"{self.path} is no bag: it holds neither {METADATA} nor a file that ends in "
                f"{' or '.join(STORAGES)}"
            )
        return files

    def _opened(self, source: Path) -> Reader:
        is_mcap = source.suffix == ".mcap" and source.is_file()
        if is_mcap and profile_of(source) not in (None, "ros2"):
            raise EvaluationError(
                f"{source} holds no ROS 2 messages: its mcap profile is {profile_of(source)!r} where a ROS 2 "
                "recorder writes 'ros2'; record the topics with 'ros2 bag record -s mcap'"
            )
        if is_mcap and self._mend and is_cut(source):
            source = MendedFile(source)
            self.cuts.append(
                f"{source} was cut off while it was recorded: its last {source.lost} bytes are lost"
            )
        try:
            return self._stack.enter_context(Reader(source))
        except _UNREADABLE as error:
            if isinstance(error, OSError) and error.errno:
                raise
            raise EvaluationError(f"{self.path} cannot be read as a ROS 2 bag: {error}") from error


def storage_files(folder: Path) -> list[Path]:
    """The files in a folder that a bag's messages may be in."""
    return sorted(p for p in folder.iterdir() if p.suffix in STORAGES)


def storage_of(path: Path) -> str:
    """``mcap`` or ``sqlite3``, by the names of the files."""
    names = [p.name for p in path.iterdir()] if path.is_dir() else [path.name]
    return "mcap" if any(".mcap" in name for name in names) else "sqlite3"


def is_bag(path: Path) -> bool:
    """Whether a path looks like a bag: a storage file, or a folder that holds one or says it does."""
    if path.is_dir():
        return (path / METADATA).is_file() or bool(storage_files(path))
    return path.suffix in (*STORAGES, ".bag")


def type_of(connection: Connection) -> str:
    """Full name of the message type; bags of 2019 say ``package/Type``."""
    package, _, base = connection.msgtype.rpartition("/")
    return connection.msgtype if "/" in package else f"{package}/msg/{base}"
