"""Messages of a bag: type definitions, header stamps, and images as arrays."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from ros2_derain.bags import BagError
from ros2_derain.image_decoding import inspect
from ros2_derain.messages.images import ImageError, compressed_to_rgb, to_rgb

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
JPEG_QUALITY = 95
FOCAL = 0.9
"""Focal length in image widths (a lens of 58 degrees) of images without a calibration."""

TYPES = get_typestore(Stores.ROS2_KILTED)
"""Definitions of the standard messages."""

BAD_MESSAGE = (ImageError, SerdeError, ValueError, IndexError, KeyError, AssertionError, struct.error)
"""What decoding a message raises where it is damaged or of a kind that is not supported."""

_DEPTH = ("16UC1", "32FC1")


# Type definitions


def define(type_name: str, store: Typestore) -> None:
    """Add a message type and all types of its fields to a type store.

    The definitions are those of the installed packages, so that they fit the message classes.

    Args:
        type_name: such as ``vision_msgs/msg/Detection2DArray``.
        store: is extended.

    Raises:
        BagError: the package or the definition is not installed.
    """
    missing = [type_name]
    while missing:
        current = missing.pop()
        if current in store.fielddefs:
            continue
        found = get_types_from_msg(_definition(current), current)
        store.register(found)
        missing.extend(_field_types(found))


def type_name_of(message: type) -> str:
    """Full name of a message class, such as ``sensor_msgs/msg/Image``."""
    return f"{message.__module__.split('.')[0]}/msg/{message.__name__}"


def _definition(name: str) -> str:
    package, _, base = name.split("/")
    try:
        path = Path(get_package_share_directory(package)) / "msg" / f"{base}.msg"
        return path.read_text(encoding="utf-8")
    except (PackageNotFoundError, OSError) as error:
        raise BagError(
            f"The definition of {name} is not installed ({error}): install the ROS package {package}."
        ) from error


def _field_types(types: dict) -> set[str]:
    """Names of the message types that the fields of ``types`` have."""
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


# Stamps


def begins_with_header(type_name: str, store: Typestore) -> bool:
    """Whether the first field of a message type is a ``std_msgs/Header``."""
    fields = store.fielddefs[type_name][1]
    return bool(fields) and fields[0][1][1] == "std_msgs/msg/Header"


def raw_stamp_ns(data: bytes) -> int:
    """Stamp in ns of a serialized message that begins with a ``std_msgs/Header``."""
    byte_order = "<" if data[1] & 1 else ">"
    seconds, nanoseconds = struct.unpack_from(byte_order + "iI", data, 4)
    return seconds * 1_000_000_000 + nanoseconds


def stamp_ns(message: Any, received_ns: int) -> int:
    """Stamp in ns of a decoded message's header; the time of reception where it is 0."""
    stamp = message.header.stamp
    return stamp.sec * 1_000_000_000 + stamp.nanosec or received_ns


# Images


def camera_of(topic: str) -> str:
    """A topic and its ``/compressed`` are one camera."""
    return topic.removesuffix("/compressed")


def decode_image(message: Any, type_name: str) -> np.ndarray:
    """The pixels of a decoded image message: H x W x 3 uint8 RGB.

    Raises:
        ImageError: they cannot be read completely, or it is a depth image.
    """
    if type_name == IMAGE:
        return to_rgb(message)
    if message.format.startswith(_DEPTH):
        raise ImageError("encoding", f"{message.format!r} is a depth image")
    return compressed_to_rgb(message)


def cause(error: Exception) -> str:
    """A key for what is wrong with an image: an :class:`ImageError`'s cause, else ``message``."""
    return error.cause if isinstance(error, ImageError) else "message"


def reason(error: Exception) -> str:
    """What is wrong with an image, in one line."""
    if isinstance(error, ImageError):
        return error.detail
    return f"the message is damaged ({type(error).__name__}: {error})"


def pinhole(header: Header, height: int, width: int, focal: float | None = None) -> CameraInfo:
    """Calibration of an ideal camera: square pixels, centred, without distortion.

    Args:
        header: of the image.
        height, width: of the image, in pixels.
        focal: focal length in pixels; None: :data:`FOCAL` of the width.
    """
    focal = focal or FOCAL * width
    cx, cy = (width - 1) / 2, (height - 1) / 2
    return CameraInfo(
        header=header,
        height=height,
        width=width,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=[focal, 0.0, cx, 0.0, focal, cy, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[focal, 0.0, cx, 0.0, 0.0, focal, cy, 0.0, 0.0, 0.0, 1.0, 0.0],
    )


def with_image(message: Any, type_name: str, image: np.ndarray) -> Any:
    """A copy of an image message with other pixels of the same size (H x W x 3 uint8 RGB).

    The header stays, and so does the encoding where it is rgb8, bgr8 or mono8 (others become rgb8), or
    the compression.
    """
    return (_with_raw if type_name == IMAGE else _with_compressed)(message, image)


def _with_raw(message: Any, image: np.ndarray) -> Any:
    encoding = message.encoding if message.encoding in ("bgr8", "mono8") else "rgb8"
    if encoding != "rgb8":
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR if encoding == "bgr8" else cv2.COLOR_RGB2GRAY)
    data = np.ascontiguousarray(image).reshape(-1)
    step = data.size // message.height
    return replace(message, encoding=encoding, is_bigendian=0, step=step, data=data)


def _with_compressed(message: Any, image: np.ndarray) -> Any:
    container = inspect(bytes(message.data), message.format)
    encoding, _, compression = message.format.partition(";")
    grey = container.grey and not encoding.startswith("bayer")
    pixels = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY if grey else cv2.COLOR_RGB2BGR)
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if container.kind == "jpeg" else []
    _, data = cv2.imencode(f".{container.kind}", pixels, quality)
    named = message.format
    if compression and encoding not in ("rgb8", "bgr8", "mono8"):
        named = f"mono8; {container.kind} compressed" if grey else f"bgr8; {container.kind} compressed bgr8"
    return replace(message, format=named, data=data.reshape(-1))
