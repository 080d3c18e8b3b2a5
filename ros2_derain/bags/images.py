"""Camera images of a bag: messages to pictures, and messages with another picture."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from rosbags.serde import SerdeError

from ros2_derain.bags.reader import BagReader, Message, Topic
from ros2_derain.errors import EvaluationError
from ros2_derain.nodes.decode import inspect
from ros2_derain.nodes.images import ImageError, compressed_to_rgb, to_rgb

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
JPEG_QUALITY = 95

BAD_IMAGE = (ImageError, SerdeError, ValueError, IndexError, KeyError, AssertionError, struct.error)
"""What reading an image message raises where it is damaged or of a kind that is not read."""

_DEPTH = ("16UC1", "32FC1")


def camera_of(topic: str) -> str:
    """A topic and its ``/compressed`` are one camera."""
    return topic.removesuffix("/compressed")


def image_topics(bag: BagReader, chosen: Sequence[str] = ()) -> list[Topic]:
    """The image topics of a bag, or those chosen of them, by name.

    Raises:
        EvaluationError: it has none, or not all of the chosen.
    """
    found = {topic.name: topic for topic in bag.topics if topic.type in (IMAGE, COMPRESSED)}
    if missing := sorted(set(chosen) - set(found)):
        raise EvaluationError(
            f"{bag.path} has no image topic {', '.join(missing)}; its image topics: "
            f"{', '.join(sorted(found)) or 'none'}"
        )
    if not found:
        named = ", ".join(f"{topic.name} ({topic.type})" for topic in bag.topics)
        raise EvaluationError(
            f"{bag.path} has no {IMAGE} or {COMPRESSED} topic; its topics: {named or 'none'}"
        )
    return [found[name] for name in sorted(chosen or found)]


def decode(message: Any, type_name: str) -> np.ndarray:
    """The picture in an image message with its fields: H x W x 3 uint8 RGB.

    Raises:
        ImageError: it cannot be read whole, or is a depth image.
    """
    if type_name == IMAGE:
        return to_rgb(message)
    if message.format.startswith(_DEPTH):
        raise ImageError("encoding", f"{message.format!r} is a depth image")
    return compressed_to_rgb(message)


def first_picture(bag: BagReader, topic: str) -> np.ndarray:
    """The first image of a topic that can be read: H x W x 3 uint8 RGB.

    Raises:
        EvaluationError: none can.
    """
    reason = "there is none"
    for message in bag.messages([topic]):
        try:
            return decode(bag.decode(message), message.type)
        except BAD_IMAGE as error:
            reason = why(error)
    raise EvaluationError(f"{bag.path} has no image on {topic} that can be read: {reason}")


def stamp_of(message: Any, received: Message) -> int:
    """The header's stamp in ns; where that is 0 the time of reception."""
    stamp = message.header.stamp
    return stamp.sec * 1_000_000_000 + stamp.nanosec or received.received_ns


def cause(error: Exception) -> str:
    """A word for what is wrong with an image: an :class:`ImageError`'s cause, else ``message``."""
    return error.cause if isinstance(error, ImageError) else "message"


def why(error: Exception) -> str:
    """What is wrong with an image, in a line."""
    if isinstance(error, ImageError):
        return error.detail.split(";")[0]
    return f"the message is damaged ({type(error).__name__}: {error})"


def with_picture(message: Any, type_name: str, picture: np.ndarray) -> Any:
    """The message with another picture of the same size; the header stays."""
    return (_image if type_name == IMAGE else _compressed)(message, picture)


def _image(message: Any, picture: np.ndarray) -> Any:
    encoding = message.encoding if message.encoding in ("bgr8", "mono8") else "rgb8"
    if encoding != "rgb8":
        picture = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR if encoding == "bgr8" else cv2.COLOR_RGB2GRAY)
    data = np.ascontiguousarray(picture).reshape(-1)
    step = data.size // message.height
    return replace(message, encoding=encoding, is_bigendian=0, step=step, data=data)


def _compressed(message: Any, picture: np.ndarray) -> Any:
    container = inspect(bytes(message.data), message.format)
    encoding, _, compression = message.format.partition(";")
    grey = container.grey and not encoding.startswith("bayer")
    pixels = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY if grey else cv2.COLOR_RGB2BGR)
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if container.kind == "jpeg" else []
    _, data = cv2.imencode(f".{container.kind}", pixels, quality)
    named = message.format
    if compression and encoding not in ("rgb8", "bgr8", "mono8"):
        named = f"mono8; {container.kind} compressed" if grey else f"bgr8; {container.kind} compressed bgr8"
    return replace(message, format=named, data=data.reshape(-1))
