"""Rain on the camera images of a rosbag2 bag; all other messages are copied unchanged."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from rosbags.interfaces import Connection, ConnectionExtRosbag2, MessageDefinitionFormat
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.rosbag2.errors import WriterError

from ros2_derain.bags.messages import (
    BAD_MESSAGE,
    TYPES,
    camera_of,
    decode_image,
    reason,
    stamp_ns,
    with_image,
)
from ros2_derain.bags.reader import BagReader, Message, type_of
from ros2_derain.rain_media.rendering import GlassMasks, RainMediaError, RainOverlay

_UNDEFINED = "RIHS01_" + 64 * "0"


@dataclass(frozen=True)
class Bag:
    """A bag with cameras.

    Attributes:
        path: the bag's folder, or its only file.
        topics: the image topics that get rain, sorted.
        messages: number of messages of all topics.
    """

    path: Path
    topics: tuple[str, ...]
    messages: int

    @property
    def cameras(self) -> tuple[str, ...]:
        """Camera 0, 1, ...; a topic and its ``/compressed`` are one camera, with one rain."""
        return tuple(sorted({camera_of(topic) for topic in self.topics}))

    @classmethod
    def open(cls, path: Path, topics: tuple[str, ...] = ()) -> Bag:
        """A bag with rain for some image topics, by default for all.

        Raises:
            BagError: it is not a ROS 2 bag, or has no such image topic.
        """
        with BagReader(path) as bag:
            chosen = tuple(topic.name for topic in bag.image_topics(topics))
            return cls(path, chosen, sum(topic.messages for topic in bag.topics))

    def __len__(self) -> int:
        return max(self.messages, 1)

    def first(self) -> np.ndarray:
        """The first image of the first topic that can be read: H x W x 3 uint8 RGB."""
        with BagReader(self.path) as bag:
            return bag.first_image(self.topics[0])

    def rain(
        self, overlay: RainOverlay, target: Path, step: Callable[[], None], masks: GlassMasks | None = None
    ) -> dict:
        """Write the bag with rain into the folder ``target``, in the same storage format.

        Stamps, times of reception, order and offered QoS stay. An image keeps its
        encoding where that is rgb8, bgr8 or mono8, or its compression, and becomes rgb8
        otherwise. Masks are named by topic and time in nanoseconds. The rain's time is the header's stamp,
        where that is 0 the time of reception. An image that cannot be read is copied.

        Raises:
            BagError: the bag is damaged.
            RainMediaError: no image can be read, or the new bag cannot be written.
        """
        rainy: Counter[str] = Counter()
        unread: dict[str, dict] = {}
        with BagReader(self.path) as source, _writer(target, source.storage) as bag:
            copies = _connections(source, bag)
            for message in source.messages():
                raw = message.raw
                if message.topic in self.topics:
                    try:
                        decoded = source.decode(message)
                        image = decode_image(decoded, message.type)
                    except BAD_MESSAGE as error:
                        first = {"images": 0, "first_reason": reason(error)}
                        unread.setdefault(message.topic, first)["images"] += 1
                    else:
                        raw = self._rainy(message, decoded, image, overlay, masks)
                        rainy[message.topic] += 1
                _write(bag, copies[message.topic, message.type], message.received_ns, raw)
                step()
        if not rainy:
            first_reason = next((found["first_reason"] for found in unread.values()), "there is none")
            raise RainMediaError(f"{self.path} has no image that can be read: {first_reason}")
        seeds = {camera: overlay.camera_seed(index) for index, camera in enumerate(self.cameras)}
        facts = {"cameras": seeds, "rainy": dict(rainy), "copied_unread": unread}
        return facts | ({"missing": source.cuts} if source.cuts else {})

    def _rainy(
        self,
        received: Message,
        decoded: Any,
        image: np.ndarray,
        overlay: RainOverlay,
        masks: GlassMasks | None,
    ) -> bytes:
        """An image message with rain, serialized."""
        camera = self.cameras.index(camera_of(received.topic))
        time_ns = stamp_ns(decoded, received.received_ns)
        view = overlay.view(image, time_ns / 1e9, camera)
        if masks:
            masks.write(f"{received.topic.strip('/').replace('/', '_')}_{time_ns}", view)
        return bytes(TYPES.serialize_cdr(with_image(decoded, received.type, view.image), received.type))


def _writer(target: Path, storage: str) -> Writer:
    plugin = StoragePlugin.MCAP if storage == "mcap" else StoragePlugin.SQLITE3
    return Writer(target, version=9, storage_plugin=plugin)


def _connections(source: BagReader, bag: Writer) -> dict[tuple[str, str], Connection]:
    """The topics of a bag, declared in another with the same definitions and QoS."""
    copies: dict[tuple[str, str], Connection] = {}
    for c in source.connections:
        kind = type_of(c)
        if (c.topic, kind) in copies:
            continue
        definition: dict[str, Any]
        if kind not in TYPES.fielddefs:
            definition = {"msgdef": c.msgdef.data, "rihs01": c.digest or _UNDEFINED}
        elif c.msgdef.format == MessageDefinitionFormat.MSG:
            definition = {"msgdef": c.msgdef.data, "rihs01": c.digest or TYPES.hash_rihs01(kind)}
        else:
            definition = {"typestore": TYPES}
        ext = cast(ConnectionExtRosbag2, c.ext)
        copies[c.topic, kind] = bag.add_connection(
            c.topic,
            kind,
            serialization_format=ext.serialization_format,
            offered_qos_profiles=ext.offered_qos_profiles,
            **definition,
        )
    return copies


def _write(bag: Writer, connection: Connection, received_ns: int, raw: bytes) -> None:
    try:
        bag.write(connection, received_ns, raw)
    except (WriterError, sqlite3.Error) as error:
        raise RainMediaError(f"the new bag cannot be written ({error}): is the disk full?") from error
