"""The one way to open a rosbag2 bag: mcap or sqlite3, folder or file, compressed or not, complete or cut off.

What a file holds is recognised by its content. Metadata only says which files of a folder belong to the
bag: where it is missing, empty, or lists other names, all storage files of the folder are read.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
import struct
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any, cast

import numpy as np
import yaml
from rosbags.interfaces import Connection, ConnectionExtRosbag2, MessageDefinitionFormat
from rosbags.rosbag2.errors import ReaderError
from rosbags.rosbag2.storage_mcap import McapReader
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Reader
from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from ros2_derain.bags import METADATA, STORAGES, BagDamaged, BagError, storage_files
from ros2_derain.bags.mcap_file import MAGIC, McapFile
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
from ros2_derain.image_decoding import LFS_POINTER, VIDEO_ADVICE

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

try:
    import apsw

    _DATABASE_ERRORS: tuple[type[Exception], ...] = (apsw.Error, sqlite3.Error)
except ImportError:  # an older rosbags reads with the standard library
    _DATABASE_ERRORS = (sqlite3.Error,)

_ZSTD = b"\x28\xb5\x2f\xfd"
_SQLITE = b"SQLite format 3\0"
_ROS_1 = b"#ROSBAG V"
_SIDE_FILES = ("-wal", "-journal")
"""Suffixes of the files beside a database that hold what is not in it yet, or must be taken back."""
_VIDEO = re.compile("Compressed(Video|Packet)|FFMPEGPacket|theora", re.IGNORECASE)

_UNREADABLE: tuple[type[Exception], ...] = (
    *_DATABASE_ERRORS, ReaderError, OSError, EOFError, struct.error, ValueError, TypeError, KeyError,
    zstd.ZstdError,
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
        path: its folder, or a storage file.
        namespace: such as ``/front``: is left out of the topics' names, which become relative
            (``image``); None: names are as recorded (``/front/image``).

    Raises:
        BagError: when it is opened: it cannot be read as a ROS 2 bag.

    Attributes:
        files: the storage files.
        cuts: what is missing from the bag, a sentence each.
    """

    def __init__(self, path: Path, namespace: str | None = None) -> None:
        self.path = path
        self.files: Sequence[Path] = ()
        self.cuts: list[str] = []
        self._prefix = None if namespace is None else namespace.rstrip("/") + "/"
        self._readers: list[McapReader | Sqlite3Reader] = []
        self._stack = ExitStack()

    # What is in the bag

    @property
    def connections(self) -> list[Connection]:
        """Topics as the storage declares them; a topic may occur more than once."""
        return [connection for reader in self._readers for connection in _of_ros_2(reader)]

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
            advice = f". {VIDEO_ADVICE}" if _VIDEO.search(named) else ""
            raise BagError(
                f"{self.path} has no {IMAGE} or {COMPRESSED} topic; its topics: {named or 'none'}{advice}"
            )
        return [found[name] for name in sorted(chosen or found)]

    @property
    def span_ns(self) -> tuple[int, int]:
        """Reception of the first and the last message; (0, 0) for an empty bag."""
        filled = [reader.metadata for reader in self._readers if reader.metadata.message_count]
        if not filled:
            return 0, 0
        return min(m.start_time for m in filled), max(m.end_time for m in filled) - 1

    @property
    def storage(self) -> str:
        """``mcap`` or ``sqlite3``."""
        return "mcap" if any(isinstance(reader, McapReader) for reader in self._readers) else "sqlite3"

    # Messages

    def messages(self, topics: Iterable[str] | None = None) -> Iterator[Message]:
        """The messages of some topics (None: of all), in the order of reception.

        Raises:
            BagDamaged: the next one cannot be read.
        """
        chosen = None if topics is None else set(topics)
        count = 0
        for reader in sorted(self._readers, key=lambda reader: reader.metadata.start_time):
            connections = [c for c in _of_ros_2(reader) if chosen is None or self._name(c) in chosen]
            if not connections:
                continue
            described = {c.id: (self._name(c), type_of(c), self._has_header(type_of(c))) for c in connections}
            try:
                for connection, received_ns, raw in reader.messages(connections):
                    count += 1
                    name, kind, has_header = described[connection.id]
                    data = zstd.decompress(raw) if raw[: len(_ZSTD)] == _ZSTD else bytes(raw)
                    yield Message(name, kind, received_ns, data, has_header)
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
        try:
            self.files = self._files()
            for path in self.files:
                self._open(path)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *exception) -> None:
        self._stack.close()

    def _files(self) -> Sequence[Path]:
        """The storage files: of a folder those that its metadata lists, where they are all there."""
        if not self.path.exists():
            raise BagError(f"{self.path} does not exist: name a bag's folder, or an .mcap or .db3 file")
        if self.path.name == METADATA:
            raise BagError(f"{self.path} only describes a bag: name the folder {self.path.parent}")
        if not self.path.is_dir():
            return [self.path]
        found, listed = storage_files(self.path), _listed(self.path / METADATA)
        missing = [path.name for path in listed if not path.exists()]
        if listed and not missing:
            parts = {_without_number(path) for path in listed}
            return [*listed, *(p for p in found if p not in listed and _without_number(p) in parts)]
        if not found:
            raise BagError(
                f"{self.path} is no bag: it holds no file that ends in {' or '.join(STORAGES)}"
                + (f", but {METADATA} lists {', '.join(missing)}" if missing else "")
            )
        if len(found) < len(listed):
            self.cuts.append(f"{self.path / METADATA} lists files that are missing: {', '.join(missing)}")
        return found

    def _open(self, path: Path) -> None:
        """Open a storage file; every bag passes here."""
        try:
            reader = self._reader(path)
        except ValueError as error:
            raise BagError(f"{path} cannot be read as a ROS 2 bag: {error}") from error
        profile = getattr(reader.path, "profile", "ros2")
        try:
            reader.open()
            if reader.connections and not _of_ros_2(reader):
                raise ReaderError("its messages are not serialized as ROS 2 does")
        except _UNREADABLE as error:
            if isinstance(error, OSError) and error.errno:
                raise
            if profile != "ros2":
                raise BagError(
                    f"{path} holds no ROS 2 messages: its mcap profile is {profile!r} where a ROS 2 recorder "
                    "writes 'ros2'; record the topics with 'ros2 bag record -s mcap'"
                ) from error
            raise BagError(f"{path} cannot be read as a ROS 2 bag: {error}") from error
        self._stack.callback(reader.close)
        self._readers.append(reader)

    def _reader(self, path: Path) -> McapReader | Sqlite3Reader:
        """The reader for what a file holds.

        Raises:
            BagError: it is recognised, but cannot be read.
            ValueError: it is not recognised.
        """
        stored, head = path, _head(path)
        if head.startswith(_ZSTD):
            stored = self._decompressed(path)
            head = _head(stored)
        if head.startswith(MAGIC):
            file = McapFile(stored)
            if file.lost:
                self.cuts.append(
                    f"{path} was cut off while it was recorded: its last {file.lost} bytes are lost"
                )
            return McapReader(cast(Path, file))
        if head.startswith(_SQLITE):
            return Sqlite3Reader(self._with_side_files(stored))
        if head.startswith(LFS_POINTER):
            raise BagError(f"{path} is a Git LFS pointer, not the bag: run 'git lfs pull'")
        if head.startswith(_ROS_1) or path.suffix == ".bag":
            raise BagError(
                f"{path} is a ROS 1 bag: convert it with "
                f"'rosbags-convert --src {path.name} --dst {path.stem}'"
            )
        begins = f"it begins with {head[:8].hex(' ')}" if head else "it is empty"
        raise ValueError(f"{begins}, and is neither mcap nor SQLite 3")

    def _decompressed(self, path: Path) -> Path:
        """A copy of a zstd file's content; up to the cut where it was cut off."""
        target = self._temporary(path)
        try:
            with zstd.open(path, "rb") as source, target.open("wb") as copy:
                shutil.copyfileobj(source, copy)
        except (EOFError, zstd.ZstdError) as error:
            self.cuts.append(f"{path} can only be decompressed up to a point: {error}")
        except OSError as error:
            raise _no_space(path, target, error) from error
        return target

    def _with_side_files(self, path: Path) -> Path:
        """A database, or a complete copy of one to which a killed recorder has not moved everything."""
        beside = [suffix for suffix in _SIDE_FILES if _size(path.with_name(path.name + suffix))]
        if not beside:
            return path
        target = self._temporary(path)
        try:
            for suffix in ("", *beside):
                shutil.copyfile(path.with_name(path.name + suffix), target.with_name(target.name + suffix))
        except OSError as error:
            raise _no_space(path, target, error) from error
        with closing(sqlite3.connect(target)) as database:
            database.execute("pragma journal_mode=delete")  # moves the messages of the log into the database
        return target

    def _temporary(self, path: Path) -> Path:
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="ros2-derain-bag-"))
        return Path(folder) / path.name


def _listed(metadata: Path) -> list[Path]:
    """The storage files that a ``metadata.yaml`` lists, beside it; none where it cannot be read."""
    try:
        described = yaml.safe_load(metadata.read_text(encoding="utf-8"))
        names = [str(name) for name in described["rosbag2_bagfile_information"]["relative_file_paths"]]
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError):
        return []
    return [metadata.with_name(PurePath(name).name) for name in names if PurePath(name).name]


def _without_number(path: Path) -> str:
    """What the names of a recording's parts have in common: ``drive_0.mcap`` and ``drive_1.mcap``."""
    return re.sub(r"_\d+(?=\.)", "", path.name)


def _of_ros_2(reader: McapReader | Sqlite3Reader) -> list[Connection]:
    """The topics whose messages are serialized as ROS 2 does."""
    return [c for c in reader.connections if cast(ConnectionExtRosbag2, c.ext).serialization_format == "cdr"]


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(64)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _no_space(path: Path, target: Path, error: OSError) -> BagError:
    return BagError(
        f"{path} cannot be unpacked into {target.parent} ({error.strerror or error}): set TMPDIR to a folder "
        "with more space"
    )


def type_of(connection: Connection) -> str:
    """Full name of the message type; bags of 2019 say ``package/Type``."""
    package, _, base = connection.msgtype.rpartition("/")
    return connection.msgtype if "/" in package else f"{package}/msg/{base}"
