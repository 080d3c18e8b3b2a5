"""Publishes a camera's recorded messages, as they are, under a simulated clock."""

from __future__ import annotations

import time
from collections.abc import Callable

import rclpy
from builtin_interfaces.msg import Time
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from ros2_derain.nodes.messages import NANOSECONDS
from ros2_derain.nodes.topics import recent

IN_FLIGHT_S = 0.05
"""Longest step of the simulated clock."""


class Player:
    """Plays to ``/clock``, an image topic and a ``camera_info``. Use it as a context manager.

    Sent reliably, so that both best-effort and reliable subscribers receive it.

    Args:
        image: name of the image topic.
        compressed: whether it carries CompressedImage.
        camera_info: name of the calibration's topic.
    """

    def __init__(self, image: str, compressed: bool, camera_info: str) -> None:
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node("player", context=self._context)
        kind = CompressedImage if compressed else Image
        self._images = self._node.create_publisher(kind, image, recent())
        self._infos = self._node.create_publisher(CameraInfo, camera_info, recent())
        self._clock = self._node.create_publisher(Clock, "/clock", QoSProfile(depth=10))

    def subscribers(self) -> int:
        """How many receive the images."""
        return self._images.get_subscription_count()

    def tick(self, time_ns: int) -> None:
        """Say what time it is."""
        seconds, nanoseconds = divmod(time_ns, NANOSECONDS)
        self._clock.publish(Clock(clock=Time(sec=seconds, nanosec=nanoseconds)))

    def send(self, image: bytes) -> int:
        """Publish a serialized image; the time when that was, in ns of the system's clock."""
        now = time.time_ns()
        self._images.publish(image)
        return now

    def calibrate(self, info: bytes) -> None:
        """Publish a serialized ``camera_info``."""
        self._infos.publish(info)

    def until(self, due_s: float, now_ns: Callable[[], int], wait: Callable[[float], None]) -> None:
        """Keep the clock going until a moment.

        Args:
            due_s: of ``time.monotonic``.
            now_ns: the simulated time.
            wait: does something useful for about so many seconds.
        """
        while (left_s := due_s - time.monotonic()) > 0:
            wait(min(left_s, IN_FLIGHT_S))
            self.tick(now_ns())

    def close(self) -> None:
        """Leave the ROS graph."""
        self._node.destroy_node()
        self._context.try_shutdown()

    def __enter__(self) -> Player:
        return self

    def __exit__(self, *exception) -> None:
        self.close()
