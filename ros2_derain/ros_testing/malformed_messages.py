"""Malformed image messages from a random generator: for drill and tests."""

from __future__ import annotations

from array import array

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from ros2_derain.messages import images

SIDES = (0, 1, 2, 63, 64, 65, 96, 161, 2**31, 2**32 - 1)
ENCODINGS = (*images.ENCODINGS, "", "rgb42", "RGB8", "8UC5", "16UC1", "64FC1", "h264", "x" * 300, "rgb8\x00")
FORMATS = ("jpeg", "png", "", "rgb8; jpeg compressed bgr8", "bayer_rggb8; png compressed", "h264", "x" * 300)


def image(random: np.random.Generator) -> Image:
    """An Image: partly plausible, mostly with fields that contradict each other."""
    if random.random() < 0.3:
        message = images.from_rgb(_image(random), Header())
    else:
        message = Image(height=_side(random), width=_side(random), encoding=_one(random, ENCODINGS))
        message.step = int(_one(random, (0, 1, message.width, 3 * message.width, 2**32 - 1)) % 2**32)
        fits = min(message.step * message.height, 100_000)
        message.data = array("B", random.bytes(int(_one(random, (0, 1, fits, fits // 2 * 3, fits + 1)))))
    for _ in range(random.integers(0, 3)):
        _corrupt(message, random)
    return message


def compressed(random: np.random.Generator) -> CompressedImage:
    """A CompressedImage: a JPEG or PNG that is valid, cut off, garbled, a bomb, or random bytes."""
    suffix = _one(random, (".jpg", ".png"))
    data = bytearray(cv2.imencode(suffix, _image(random))[1].tobytes())
    kind = random.integers(6)
    if kind == 1:
        del data[random.integers(len(data)) :]
    elif kind == 2:
        for place in random.integers(0, len(data), random.integers(1, 20)):
            data[place] = random.integers(256)
    elif kind == 3:
        data = bytearray(random.bytes(int(random.integers(0, 2000))))
    elif kind == 4:
        data = bytearray(_bomb(suffix, bytes(data)))
    elif kind == 5:
        data += random.bytes(int(random.integers(1, 100)))
    return CompressedImage(format=_one(random, FORMATS), data=array("B", bytes(data)))


def _bomb(suffix: str, data: bytes) -> bytes:
    """The same file with a header of 65535 x 65535 pixels."""
    if suffix == ".png":
        return data[:16] + b"\x00\x00\xff\xff" * 2 + data[24:]
    start = data.find(b"\xff\xc0")
    return data[: start + 5] + b"\xff" * 4 + data[start + 9 :]


def _corrupt(message: Image, random: np.random.Generator) -> None:
    field = _one(random, ("height", "width", "step", "encoding", "is_bigendian", "data"))
    if field == "encoding":
        message.encoding = _one(random, ENCODINGS)
    elif field == "is_bigendian":
        message.is_bigendian = int(random.integers(256))
    elif field == "data":
        message.data = message.data[: random.integers(len(message.data) + 1)]
    else:
        setattr(message, field, _side(random))


def _image(random: np.random.Generator) -> np.ndarray:
    height, width = random.integers(64, 160, 2)
    return random.integers(0, 256, (height, width, 3), np.uint8)


def _side(random: np.random.Generator) -> int:
    return int(_one(random, SIDES))


def _one(random: np.random.Generator, values: tuple):
    return values[random.integers(len(values))]
