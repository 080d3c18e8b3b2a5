"""A camera and an ear in one: sends frames that can be told apart, and checks what comes back.

Every picture carries a number in its first rows, so that a clean image can be held
against the very picture whose stamp it bears.
"""

from __future__ import annotations

import struct
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import ReliabilityPolicy
from rclpy.serialization import serialize_message
from rclpy.subscription import MessageInfo
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String

from ros2_derain.image_decoding import ImageError
from ros2_derain.nodes import images, messages, outputs, runtime, topics
from ros2_derain.nodes.lifecycle_client import Questions
from ros2_derain.nodes.topics import Topic
from ros2_derain.ros_testing.observer import Observer

HEARD = (outputs.CLEAN_IMAGE, outputs.TRUST, outputs.LABEL_MAP, outputs.CONFIDENCE, outputs.DETECTIONS)
"""What is held against the frames that were sent."""

BITS, CELL = 16, 16
"""A number of so many bits, in squares of so many pixels."""

CDR_HEADER = 4
"""Bytes before a serialised message's first field."""

ANSWER_S = 30.0
"""Longest wait for the answer to a question."""

REMEMBERED_S = 120.0
"""No answer comes later than this after its frame."""

QUIET, LOUD = 16, 240


@dataclass(frozen=True)
class Sent:
    """A frame that was sent.

    Attributes:
        number: in its picture; None where the picture carries none.
        frame_id: in its header.
        at: when, by ``time.monotonic``.
    """

    number: int | None
    frame_id: str
    at: float


@dataclass(frozen=True)
class Answer:
    """A message that came back.

    Attributes:
        stamp_ns, frame_id: of its header.
        number: read off a clean image; None on other topics, and where none can be read.
        at: when it was received, by ``time.monotonic``; it may be handled later.
    """

    stamp_ns: int
    frame_id: str
    number: int | None
    at: float


def picture(number: int, height: int = 192, width: int = 320) -> np.ndarray:
    """H x W x 3 uint8: a grainy road under a sky, the same in every picture, and ``number`` on top."""
    rows = np.linspace(200, 60, height)[:, None]
    grain = np.random.default_rng(0).integers(-12, 13, (height, width))
    image = np.repeat((rows + grain).clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
    _write(number, image)
    return image


def _rows() -> np.ndarray:
    """A row of pixels for every byte, 256 x (8 CELL) x 1, least bit first."""
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
    return np.where(bits, np.uint8(LOUD), np.uint8(QUIET)).repeat(CELL, axis=1)[..., None]


_ROWS = _rows()


def _write(number: int, image: np.ndarray) -> None:
    for byte in range(BITS // 8):
        place = image[:CELL, 8 * CELL * byte : 8 * CELL * (byte + 1)]
        place[:] = _ROWS[number >> 8 * byte & 255, : place.shape[1]]


class Negative:
    """An ``rgb8`` message in its serialised form, of which prints are made with other stamps and numbers.

    A camera of hundreds of frames per second must leave the cores to the pipeline.

    Args:
        frame_id: of the header.
        height, width: of the picture.
    """

    def __init__(self, frame_id: str, height: int, width: int) -> None:
        message = images.from_rgb(picture(0, height, width), messages.to_header(0, frame_id))
        self._bytes = bytearray(serialize_message(message))
        begin = len(self._bytes) - height * width * 3  # CDR: the pixels come last
        self._image = np.frombuffer(self._bytes, np.uint8, offset=begin).reshape(height, width, 3)

    def print(self, stamp_ns: int, number: int) -> bytes:
        """The message with a stamp and a number."""
        struct.pack_into("=iI", self._bytes, CDR_HEADER, *divmod(stamp_ns, 10**9))
        _write(number, self._image)
        return bytes(self._bytes)


def number_of(image: np.ndarray) -> int | None:
    """The number in a picture, clean or not; None where it is too small to carry one."""
    if image.shape[0] < CELL or image.shape[1] < BITS * CELL:
        return None
    middle = image[4:12, : BITS * CELL].reshape(8, BITS, CELL, 3)[:, :, 4:12].mean((0, 2, 3))
    return int(sum(1 << bit for bit, level in enumerate(middle) if level > (QUIET + LOUD) / 2))


class Probe(Observer):
    """Plays a camera to a pipeline and keeps what comes back. Use it as a context manager.

    Args:
        namespace: of the pipeline.
        reliable: whether the camera offers reliable images; real ones rarely do.
    """

    def __init__(self, namespace: str = "", reliable: bool = False) -> None:
        super().__init__(namespace)
        qos = topics.recent()
        qos.reliability = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
        self._image = self._node.create_publisher(Image, topics.IMAGE.name, qos)
        self._compressed = self._node.create_publisher(CompressedImage, topics.IMAGE_COMPRESSED.name, qos)
        self._number = 0
        self._negative = lru_cache(maxsize=8)(Negative)
        self._questions = Questions(self._node, self.spin_until)
        self.sent: dict[int, Sent] = {}
        self.repeated: Counter[int] = Counter()
        self.answers: dict[str, list[Answer]] = defaultdict(list)
        self.modes: list[str] = []
        for topic in HEARD:
            qos = topic.qos()
            qos.depth = 200
            hears = runtime.WithInfo(self._hears(topic))
            self._node.create_subscription(topic.type, topic.name, hears, qos)
        self._node.create_subscription(
            String, outputs.MODE.name, lambda message: self.modes.append(message.data), outputs.MODE.qos()
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
            number: the picture's; by default the next one.
            encode: turns the ``rgb8`` message into the one that is sent instead.
        """
        stamp = time.time_ns() if stamp_ns is None else stamp_ns
        if number is None:
            self._number = number = (self._number + 1) % (1 << BITS)
        if encode is None:
            message = self._negative(frame_id, *size).print(stamp, number)
        else:
            message = encode(images.from_rgb(picture(number, *size), messages.to_header(stamp, frame_id)))
        self._note(stamp, Sent(number, frame_id, time.monotonic()))
        self._image.publish(message)
        return stamp

    def send_as_is(self, message: Image | CompressedImage) -> None:
        """Send any message under a stamp of its own."""
        stamp = time.time_ns()
        message.header = messages.to_header(stamp, "camera")
        self._note(stamp, Sent(None, "camera", time.monotonic()))
        (self._image if isinstance(message, Image) else self._compressed).publish(message)

    def connected(self) -> bool:
        """Whether the pipeline listens to the camera, and this to the pipeline."""
        return bool(
            self._image.get_subscription_count() or self._compressed.get_subscription_count()
        ) and all(self.publishers(topic) for topic in HEARD)

    def _note(self, stamp: int, sent: Sent) -> None:
        if stamp in self.sent:
            self.repeated[stamp] += 1
        self.sent[stamp] = sent

    # The ear

    def heard(self, topic: Topic, stamp_ns: int) -> bool:
        """Whether a frame was answered on a topic."""
        return any(answer.stamp_ns == stamp_ns for answer in reversed(self.answers[topic.name]))

    def strangers(self, instances: int = 1) -> list[str]:
        """Sentences about answers that no frame asked for; empty when all is well.

        Args:
            instances: how many pipelines answer.
        """
        found = []
        for name, answers in self.answers.items():
            times = Counter(answer.stamp_ns for answer in answers)
            for answer in answers:
                sent = self.sent.get(answer.stamp_ns)
                if sent is None:
                    found.append(f"{name} bears the stamp {answer.stamp_ns}, which was never sent")
                elif answer.frame_id != sent.frame_id:
                    found.append(f"{name} says frame_id {answer.frame_id!r} instead of {sent.frame_id!r}")
                elif None not in (answer.number, sent.number) and answer.number != sent.number:
                    found.append(f"{name} shows picture {answer.number} under the stamp of {sent.number}")
            limit = {stamp: instances * (1 + self.repeated[stamp]) for stamp in times}
            found += [f"{name} bears a stamp {n} times" for stamp, n in times.items() if n > limit[stamp]]
        return found

    def forget(self) -> None:
        """Start a new account of answers; frames whose answer may still come are kept."""
        self.answers.clear()
        began = time.monotonic() - REMEMBERED_S
        self.sent = {stamp: sent for stamp, sent in self.sent.items() if sent.at > began}

    def _hears(self, topic: Topic) -> Callable[[Any, MessageInfo], None]:
        def receive(message: Any, info: MessageInfo) -> None:
            at = time.monotonic() - (time.time_ns() - info["received_timestamp"]) / 1e9
            number = None
            if topic is outputs.CLEAN_IMAGE:
                try:
                    number = number_of(images.to_rgb(message))
                except ImageError:
                    number = -1
            header = message.header
            stamp = messages.stamp_ns(header)
            self.answers[topic.name].append(Answer(stamp, header.frame_id, number, at))

        return receive

    # Questions

    def change(self, node: str, transition: str, timeout_s: float = 60.0) -> bool:
        """Ask a node for a lifecycle transition; whether it succeeded."""
        return self._questions.change(node, transition, timeout_s)

    def set_parameter(self, node: str, name: str, value: Any) -> tuple[bool, str]:
        """Set a node's parameter; whether it was taken, and the reason if not."""
        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        result = self._questions.ask(SetParameters, f"{node}/set_parameters", request, ANSWER_S).results[0]
        return result.successful, result.reason
