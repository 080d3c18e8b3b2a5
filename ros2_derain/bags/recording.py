"""Reads a recorded bag: counts, stamps, and the messages as arrays and records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.highlevel import AnyReader, AnyReaderError

from ros2_derain.bags.writing import stamp_of
from ros2_derain.engine import Detection
from ros2_derain.errors import EvaluationError


@dataclass(frozen=True)
class Message:
    """One message of a bag.

    Attributes:
        topic: name relative to the recording's namespace.
        type: such as ``sensor_msgs/msg/Image``.
        received_ns: when the recorder got it.
        stamp_ns: of its header; None where the type has no header.
        raw: serialized.
    """

    topic: str
    type: str
    received_ns: int
    stamp_ns: int | None
    raw: bytes


class Recording:
    """A bag. Use it as a context manager.

    Args:
        path: the bag's folder.
        namespace: is left out of the topics' names.

    Raises:
        EvaluationError: it is no bag.
    """

    def __init__(self, path: Path, namespace: str = "/") -> None:
        self._prefix = namespace.rstrip("/") + "/"
        try:
            self._reader = AnyReader([path])
            self._reader.open()
        except (AnyReaderError, OSError) as error:
            raise EvaluationError(f"{path} cannot be read as a bag: {error}") from error
        self._with_header = {
            c.msgtype for c in self._reader.connections if _begins_with_header(self._reader, c.msgtype)
        }

    def counts(self) -> Counter[str]:
        """Messages per topic, silent ones included."""
        counts: Counter[str] = Counter()
        for connection in self._reader.connections:
            counts[self._relative(connection.topic)] += connection.msgcount
        return counts

    def types(self) -> dict[str, str]:
        """Message type of each topic."""
        return {self._relative(c.topic): c.msgtype for c in self._reader.connections}

    def messages(self, *topics: str) -> Iterator[Message]:
        """The messages of some topics (of all without names), in the order of reception."""
        chosen = [c for c in self._reader.connections if not topics or self._relative(c.topic) in topics]
        if not chosen:
            return
        for connection, received_ns, raw in self._reader.messages(chosen):
            stamp = stamp_of(raw) if connection.msgtype in self._with_header else None
            yield Message(self._relative(connection.topic), connection.msgtype, received_ns, stamp, raw)

    def decode(self, message: Message) -> Any:
        """The message with its fields, as the rosbags library makes it."""
        return self._reader.deserialize(message.raw, message.type)

    def close(self) -> None:
        """Close the files."""
        self._reader.close()

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def _relative(self, topic: str) -> str:
        return topic.removeprefix(self._prefix).removeprefix("/")


def picture(image: Any) -> np.ndarray:
    """Pixels of an ``rgb8`` or ``mono8`` image as the pipeline publishes it: a view, uint8.

    Returns:
        H x W x 3 (RGB) or H x W.

    Raises:
        EvaluationError: it has another encoding.
    """
    channels = {"rgb8": 3, "mono8": 1}.get(image.encoding)
    if channels is None:
        raise EvaluationError(f"image has encoding {image.encoding!r}; the pipeline publishes rgb8 and mono8")
    rows = np.asarray(image.data).reshape(image.height, image.step)[:, : image.width * channels]
    return rows.reshape(image.height, image.width, 3) if channels == 3 else rows


def detections(message: Any) -> tuple[Detection, ...]:
    """The boxes of a ``vision_msgs/Detection2DArray``, each of its best class.

    Raises:
        IndexError: one has no class.
    """
    return tuple(_detection(box) for box in message.detections)


def _detection(box: Any) -> Detection:
    centre, best = box.bbox.center.position, box.results[0].hypothesis
    half_width, half_height = box.bbox.size_x / 2, box.bbox.size_y / 2
    return Detection(
        best.class_id,
        best.score,
        centre.x - half_width,
        centre.y - half_height,
        centre.x + half_width,
        centre.y + half_height,
    )


def _begins_with_header(reader: AnyReader, type_name: str) -> bool:
    fields = reader.typestore.fielddefs[type_name][1]
    return bool(fields) and fields[0][1][1] == "std_msgs/msg/Header"
