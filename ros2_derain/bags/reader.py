"""The one way to open a rosbag2 bag: mcap or sqlite3, folder or file, of any year, complete or cut off."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.interfaces import Connection, MessageDefinitionFormat
from rosbags.rosbag2 import Reader
from rosbags.rosbag2.errors import ReaderError
from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from ros2_derain.bags import BagDamaged, BagError
from ros2_derain.bags.messages import (
    BAD_MESSAGE,
    COMPRESSED,
    IMAGE,
    TYPES,
    begins_with_header,
    decode_image,
    define,
    raw_stamp_ns,
    reason,
)
from ros2_derain.bags.recovery import RecoveredFile, is_cut_off, profile_of

try:
    import apsw

    _DATABASE_ERRORS: tuple[type[Exception], ...] = (apsw.Error, sqlite3.Error)
except ImportError:  # an older rosbags reads with the standard library
    _DATABASE_ERRORS = (sqlite3.Error,)

STORAGES = (".mcap", ".db3")
METADATA = "metadata.yaml"

_UNREADABLE: tuple[type[Exception], ...] = (
    *_DATABASE_ERRORS, ReaderError, OSError, struct.error, ValueError, TypeError, KeyError
)  # fmt: skip


@dataclass(frozen=True)
class Topic:
    """A topic of a bag.

    Attributes:
        name, type: such as ``/camera/image_raw`` and ``sensor_msgs/msg/Image``.
        messages: how many it has.
    """

    name: str
    type: str
    messages: int


@dataclass(frozen=True)
class Message:
    """A message of a bag.

    Attributes:
        topic, type: as in :class:`Topic`.
        received_ns: when the recorder received it.
        raw: serialized.
        has_header: whether it begins with a ``std_msgs/Header``.
    """

    topic: str
    type: str
    received_ns: int
    raw: bytes
    has_header: bool

    @property
    def stamp_ns(self) -> int | None:
        """Stamp of its header; None where it has none."""
        return raw_stamp_ns(self.raw) if self.has_header else None


class BagReader:
    """A bag that is open for reading. Use it as a context manager.

    Args:
        path: its folder, or a storage file. Of a folder without ``metadata.yaml`` every
            storage file is read.
        recover: read an mcap file that was cut off up to the cut, instead of refusing it.
        namespace: such as ``/front``: is left out of the topics' names, which become relative
            (``image``); None: names are as recorded (``/front/image``).

    Raises:
        BagError: when it is opened: it cannot be read as a ROS 2 bag.

    Attributes:
        cuts: what is missing from a recovered bag, a sentence per file.
    """

    def __init__(self, path: Path, recover: bool = False, namespace: str | None = None) -> None:
        self.path = path
        self.cuts: list[str] = []
        self._recover = recover
        self._prefix = None if namespace is None else namespace.rstrip("/") + "/"
        self._readers: list[Reader] = []
        self._stack = ExitStack()

    # What is in the bag

    @property
    def connections(self) -> list[Connection]:
        """Topics as the storage declares them; a topic may occur more than once."""
        return [connection for reader in self._readers for connection in reader.connections]

    @property
    def topics(self) -> list[Topic]:
        """Every topic, by name; those without messages included."""
        counts: dict[tuple[str, str], int] = {}
        for connection in self.connections:
            key = self._name(connection), type_of(connection)
            counts[key] = counts.get(key, 0) + connection.msgcount
        return [Topic(name, kind, count) for (name, kind), count in sorted(counts.items())]

    def image_topics(self, chosen: Sequence[str] = ()) -> list[Topic]:
        """The image topics by name, or those chosen of them.

        Raises:
            BagError: there is none, or not all of the chosen exist.
        """
        found = {topic.name: topic for topic in self.topics if topic.type in (IMAGE, COMPRESSED)}
        if missing := sorted(set(chosen) - set(found)):
            raise BagError(
                f"{self.path} has no image topic {', '.join(missing)}; its image topics: "
                f"{', '.join(sorted(found)) or 'none'}"
            )
        if not found:
            named = ", ".join(f"{topic.name} ({topic.type})" for topic in self.topics)
            raise BagError(f"{self.path} has no {IMAGE} or {COMPRESSED} topic; its topics: {named or 'none'}")
        return [found[name] for name in sorted(chosen or found)]

    @property
    def span_ns(self) -> tuple[int, int]:
        """Reception of the first and the last message; (0, 0) for an empty bag."""
        filled = [reader for reader in self._readers if reader.message_count]
        if not filled:
            return 0, 0
        return min(r.start_time for r in filled), max(r.end_time for r in filled) - 1

    @property
    def storage(self) -> str:
        """``mcap`` or ``sqlite3``, by the names of the files."""
        names = [p.name for p in self.path.iterdir()] if self.path.is_dir() else [self.path.name]
        return "mcap" if any(".mcap" in name for name in names) else "sqlite3"

    # Messages

    def messages(self, topics: Iterable[str] | None = None) -> Iterator[Message]:
        """The messages of some topics (None: of all), in the order of reception.

        Raises:
            BagDamaged: the next one cannot be read.
        """
        chosen = None if topics is None else set(topics)
        count = 0
        for reader in sorted(self._readers, key=lambda reader: reader.start_time):
            connections = [c for c in reader.connections if chosen is None or self._name(c) in chosen]
            if not connections:
                continue
            described = {c.id: (self._name(c), type_of(c), self._has_header(type_of(c))) for c in connections}
            try:
                for connection, received_ns, raw in reader.messages(connections):
                    count += 1
                    name, kind, has_header = described[connection.id]
                    yield Message(name, kind, received_ns, bytes(raw), has_header)
            except _UNREADABLE as error:
                raise BagDamaged(f"{self.path} breaks off after {count} messages: {error}") from error

    def decode(self, message: Message) -> Any:
        """The message with its fields, as the rosbags library makes it.

        Raises:
            BagError: neither the bag nor an installed package defines its type.
            ValueError, KeyError, struct.error and others of :data:`messages.BAD_MESSAGE`: it is damaged.
        """
        return self._types_with(message.type).deserialize_cdr(message.raw, message.type)

    def first_image(self, topic: str) -> np.ndarray:
        """The first image of a topic that can be read: H x W x 3 uint8 RGB.

        Raises:
            BagError: none can.
        """
        why = "there is none"
        for message in self.messages([topic]):
            try:
                return decode_image(self.decode(message), message.type)
            except BAD_MESSAGE as error:
                why = reason(error)
        raise BagError(f"{self.path} has no image on {topic} that can be read: {why}")

    def _name(self, connection: Connection) -> str:
        if self._prefix is None:
            return connection.topic
        return connection.topic.removeprefix(self._prefix).removeprefix("/")

    def _types_with(self, name: str) -> Typestore:
        """A type store that knows a type."""
        if name in TYPES.fielddefs:
            return TYPES
        if name not in self._own_types.fielddefs:
            define(name, self._own_types)
        return self._own_types

    def _has_header(self, name: str) -> bool:
        try:
            return begins_with_header(name, self._types_with(name))
        except BagError:  # nobody defines it
            return False

    @cached_property
    def _own_types(self) -> Typestore:
        """The standard types and those that the bag itself defines."""
        store = get_typestore(Stores.ROS2_KILTED)
        for connection in self.connections:
            if connection.msgdef.format == MessageDefinitionFormat.MSG:
                with suppress(TypesysError):  # a damaged definition is as none
                    defined = get_types_from_msg(connection.msgdef.data, type_of(connection))
                    store.register({name: d for name, d in defined.items() if name not in store.fielddefs})
        return store

    # Opening

    def __enter__(self) -> BagReader:
        if self.path.suffix == ".bag":
            raise BagError(
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
        """As the folder's metadata describes it; where that fails and recovery is on, file by file."""
        described = self.path.is_dir() and (self.path / METADATA).is_file()
        try:
            self._readers = [self._reader(source) for source in ([self.path] if described else self._files())]
        except BagError:
            if not (described and self._recover):
                raise
            self._readers = [self._reader(source) for source in self._files()]

    def _files(self) -> Sequence[Path]:
        if not self.path.exists():
            raise BagError(f"{self.path} does not exist: name a bag's folder, or an .mcap or .db3 file")
        if not self.path.is_dir():
            return [self.path]
        files = storage_files(self.path)
        if not files:
            raise BagError(
                f"{self.path} is no bag: it holds neither {METADATA} nor a file that ends in "
                f"{' or '.join(STORAGES)}"
            )
        return files

    def _reader(self, path: Path) -> Reader:
        """Open a folder or a storage file; every bag passes here."""
        is_mcap = path.suffix == ".mcap" and path.is_file()
        if is_mcap and profile_of(path) not in (None, "ros2"):
            raise BagError(
                f"{path} holds no ROS 2 messages: its mcap profile is {profile_of(path)!r} where a ROS 2 "
                "recorder writes 'ros2'; record the topics with 'ros2 bag record -s mcap'"
            )
        source: Any = path  # what the rosbags library takes for a path
        if is_mcap and self._recover and is_cut_off(path):
            source = RecoveredFile(path)
            self.cuts.append(
                f"{path} was cut off while it was recorded: its last {source.lost} bytes are lost"
            )
        try:
            return self._stack.enter_context(Reader(source))
        except _UNREADABLE as error:
            if isinstance(error, OSError) and error.errno:
                raise
            raise BagError(f"{self.path} cannot be read as a ROS 2 bag: {error}") from error


def storage_files(folder: Path) -> list[Path]:
    """The files in a folder that may hold a bag's messages."""
    return sorted(p for p in folder.iterdir() if p.suffix in STORAGES)


def is_bag(path: Path) -> bool:
    """Whether a path looks like a bag: a storage file, or a folder with one or with metadata."""
    if path.is_dir():
        return (path / METADATA).is_file() or bool(storage_files(path))
    return path.suffix in (*STORAGES, ".bag")


def type_of(connection: Connection) -> str:
    """Full name of the message type; bags of 2019 say ``package/Type``."""
    package, _, base = connection.msgtype.rpartition("/")
    return connection.msgtype if "/" in package else f"{package}/msg/{base}"
