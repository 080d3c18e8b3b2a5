"""A camera and a listener in one: sends numbered frames to a pipeline and checks its outputs.

Every image carries a number in its first rows, so that a clean image can be compared
with the image whose stamp it has.
"""

from __future__ import annotations

import struct
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String

from ros2_derain import messages
from ros2_derain.image_decoding import ImageError
from ros2_derain.messages import images, topics
from ros2_derain.messages.topics import Topic
from ros2_derain.nodes import outputs, runtime
from ros2_derain.ros_testing.observer import Observer

if TYPE_CHECKING:  # from Kilted on
    from rclpy.subscription import MessageInfo

CHECKED = (outputs.CLEAN_IMAGE, outputs.TRUST, outputs.LABEL_MAP, outputs.CONFIDENCE, outputs.DETECTIONS)
"""Output topics whose headers are compared with the frames that were sent."""

BITS, CELL = 16, 16
"""The number has this many bits; each is a square of this many pixels."""

CDR_HEADER = 4
"""Bytes before a serialized message's first field."""

SERVICE_S = 30.0
"""Longest wait for the response of a service."""

KEPT_S = 120.0
"""No output comes later than this after its frame."""

DARK, BRIGHT = 16, 240
"""Pixel values of a 0 and a 1."""


@dataclass(frozen=True)
class Sent:
    """A frame that was sent.

    Attributes:
        number: in its image; None where the image carries none.
        frame_id: in its header.
        at: when, by ``time.monotonic``.
    """

    number: int | None
    frame_id: str
    at: float


@dataclass(frozen=True)
class Received:
    """An output message that was received.

    Attributes:
        stamp_ns, frame_id: of its header.
        number: read from a clean image; None on other topics, and for images too small to carry one.
        at: when it was received, by ``time.monotonic``; its callback may run later.
    """

    stamp_ns: int
    frame_id: str
    number: int | None
    at: float


def numbered_image(number: int, height: int = 192, width: int = 320) -> np.ndarray:
    """H x W x 3 uint8: a grainy road under a sky, always the same, with ``number`` in the first rows."""
    rows = np.linspace(200, 60, height)[:, None]
    grain = np.random.default_rng(0).integers(-12, 13, (height, width))
    image = np.repeat((rows + grain).clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
    _write_number(number, image)
    return image


def read_number(image: np.ndarray) -> int | None:
    """The number in an image, restored or not; None where the image is too small to carry one."""
    if image.shape[0] < CELL or image.shape[1] < BITS * CELL:
        return None
    middle = image[4:12, : BITS * CELL].reshape(8, BITS, CELL, 3)[:, :, 4:12].mean((0, 2, 3))
    return int(sum(1 << bit for bit, level in enumerate(middle) if level > (DARK + BRIGHT) / 2))


def _rows_of_bytes() -> np.ndarray:
    """A row of pixels for every byte, 256 x (8 CELL) x 1, least significant bit first."""
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
    return np.where(bits, np.uint8(BRIGHT), np.uint8(DARK)).repeat(CELL, axis=1)[..., None]


_ROWS = _rows_of_bytes()


def _write_number(number: int, image: np.ndarray) -> None:
    for byte in range(BITS // 8):
        place = image[:CELL, 8 * CELL * byte : 8 * CELL * (byte + 1)]
        place[:] = _ROWS[number >> 8 * byte & 255, : place.shape[1]]


class MessageTemplate:
    """An ``rgb8`` message in serialized form, which is reused with other stamps and numbers.

    A camera of hundreds of frames per second must leave the cores to the pipeline.

    Args:
        frame_id: of the header.
        height, width: of the image.
    """

    def __init__(self, frame_id: str, height: int, width: int) -> None:
        message = images.from_rgb(numbered_image(0, height, width), messages.to_header(0, frame_id))
        self._bytes = bytearray(serialize_message(message))
        begin = len(self._bytes) - height * width * 3  # CDR: the pixels come last
        self._image = np.frombuffer(self._bytes, np.uint8, offset=begin).reshape(height, width, 3)

    def fill(self, stamp_ns: int, number: int) -> bytes:
        """The serialized message with a stamp and a number."""
        struct.pack_into("=iI", self._bytes, CDR_HEADER, *divmod(stamp_ns, 10**9))
        _write_number(number, self._image)
        return bytes(self._bytes)


class Probe(Observer):
    """Sends frames to a pipeline and keeps its outputs. Use it as a context manager.

    Args:
        namespace: of the pipeline.
    """

    def __init__(self, namespace: str = "") -> None:
        super().__init__(namespace)
        qos = topics.best_effort()  # as most cameras
        self._image = self._node.create_publisher(Image, topics.IMAGE.name, qos)
        self._compressed = self._node.create_publisher(CompressedImage, topics.IMAGE_COMPRESSED.name, qos)
        self._number = 0
        self._template = lru_cache(maxsize=8)(MessageTemplate)
        self.sent: dict[int, Sent] = {}
        self.repeated: dict[int, list[Sent]] = defaultdict(list)
        self.received: dict[str, list[Received]] = defaultdict(list)
        self.modes: list[str] = []
        for topic in CHECKED:
            qos = topic.qos()
            qos.depth = 200
            callback = runtime.with_info(self._on_output(topic))
            self._node.create_subscription(topic.type, topic.name, callback, qos)
        every_mode = outputs.MODE.qos()
        every_mode.depth = 100
        self._node.create_subscription(
            String, outputs.MODE.name, lambda message: self.modes.append(message.data), every_mode
        )

    # The camera

    def send(
        self,
        stamp_ns: int | None = None,
        frame_id: str = "camera",
        size: tuple[int, int] = (192, 320),
        number: int | None = None,
        encode: Callable[[Image], Image] | None = None,
    ) -> int:
        """Send a frame; returns its stamp in ns.

        Args:
            stamp_ns: by default now.
            frame_id: of the header.
            size: height and width.
            number: in the image; by default the next one.
            encode: turns the ``rgb8`` message into the one that is sent instead.
        """
        stamp = time.time_ns() if stamp_ns is None else stamp_ns
        if number is None:
            self._number = number = (self._number + 1) % (1 << BITS)
        if encode is None:
            message = self._template(frame_id, *size).fill(stamp, number)
        else:
            message = encode(
                images.from_rgb(numbered_image(number, *size), messages.to_header(stamp, frame_id))
            )
        self._note(stamp, Sent(number, frame_id, time.monotonic()))
        self._image.publish(message)
        return stamp

    def send_message(self, message: Image | CompressedImage) -> None:
        """Send any message, with a stamp of its own."""
        stamp = time.time_ns()
        message.header = messages.to_header(stamp, "camera")
        self._note(stamp, Sent(None, "camera", time.monotonic()))
        (self._image if isinstance(message, Image) else self._compressed).publish(message)

    def connected(self) -> bool:
        """Whether the pipeline has subscribed to the camera and publishes every checked topic."""
        return bool(
            self._image.get_subscription_count() or self._compressed.get_subscription_count()
        ) and all(self.publishers(topic) for topic in CHECKED)

    def _note(self, stamp: int, sent: Sent) -> None:
        if stamp in self.sent:
            self.repeated[stamp].append(self.sent[stamp])
        self.sent[stamp] = sent

    # The listener

    def has_output(self, topic: Topic, stamp_ns: int) -> bool:
        """Whether a topic has an output for a frame."""
        return any(output.stamp_ns == stamp_ns for output in reversed(self.received[topic.name]))

    def mode(self) -> str:
        """The newest mode of the pipeline; ``unknown`` before the first has arrived."""
        return self.modes[-1] if self.modes else "unknown"

    def stamp_errors(self, instances: int = 1) -> list[str]:
        """Outputs that belong to no frame or to another one, a sentence each.

        Args:
            instances: how many pipelines publish outputs.
        """
        found = []
        for name, received in self.received.items():
            times = Counter(output.stamp_ns for output in received)
            for output in received:
                sent = self.sent.get(output.stamp_ns)
                if sent is None:
                    found.append(f"{name} has the stamp {output.stamp_ns}, which was never sent")
                elif output.frame_id != sent.frame_id:
                    found.append(f"{name} has frame_id {output.frame_id!r} instead of {sent.frame_id!r}")
                elif output.number is not None and not self._may_show(output):
                    found.append(f"{name} shows image {output.number} under the stamp of {sent.number}")
            limit = {stamp: instances * (1 + len(self.repeated[stamp])) for stamp in times}
            found += [f"{name} has a stamp {n} times" for stamp, n in times.items() if n > limit[stamp]]
        return found

    def _may_show(self, output: Received) -> bool:
        """Whether an image with this output's number, or without a number, was sent under its stamp."""
        sent = (self.sent[output.stamp_ns], *self.repeated[output.stamp_ns])
        return bool({output.number, None} & {frame.number for frame in sent})

    def reset(self) -> None:
        """Drop the outputs received so far; frames whose output may still come are kept."""
        self.received.clear()
        oldest = time.monotonic() - KEPT_S
        self.sent = {stamp: sent for stamp, sent in self.sent.items() if sent.at > oldest}

    def _on_output(self, topic: Topic) -> Callable[[Any, MessageInfo], None]:
        def receive(message: Any, info: MessageInfo) -> None:
            at = time.monotonic() - (time.time_ns() - info["received_timestamp"]) / 1e9
            number = None
            if topic is outputs.CLEAN_IMAGE:
                try:
                    number = read_number(images.to_rgb(message))
                except ImageError:
                    number = -1
            header = message.header
            output = Received(messages.stamp_ns(header), header.frame_id, number, at)
            self.received[topic.name].append(output)

        return receive

    # Services

    def change(self, node: str, transition: str, timeout_s: float = 60.0) -> bool:
        """Request a lifecycle transition of a node; whether it succeeded."""
        return self._client.change(node, transition, timeout_s)

    def set_parameter(self, node: str, name: str, value: Any) -> tuple[bool, str]:
        """Set a node's parameter; whether it was accepted, and the reason if not."""
        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        result = self._client.call(SetParameters, f"{node}/set_parameters", request, SERVICE_S).results[0]
        return result.successful, result.reason
