"""Publishes a camera's recorded messages, unchanged, under a simulated clock."""

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

MAX_STEP_S = 0.05
"""Longest step of the simulated clock."""


class Player:
    """Publishes ``/clock``, an image topic and a ``camera_info``. Use it as a context manager.

    All are sent reliably, so that both best-effort and reliable subscribers receive them.

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
        """Number of subscribers to the images."""
        return self._images.get_subscription_count()

    def tick(self, time_ns: int) -> None:
        """Set the simulated clock."""
        seconds, nanoseconds = divmod(time_ns, NANOSECONDS)
        self._clock.publish(Clock(clock=Time(sec=seconds, nanosec=nanoseconds)))

    def send(self, image: bytes) -> int:
        """Publish a serialized image; returns the time in ns of the system's clock."""
        now = time.time_ns()
        self._images.publish(image)
        return now

    def calibrate(self, info: bytes) -> None:
        """Publish a serialized ``camera_info``."""
        self._infos.publish(info)

    def until(self, due_s: float, now_ns: Callable[[], int], wait: Callable[[float], None]) -> None:
        """Advance the simulated clock until a deadline.

        Args:
            due_s: the deadline, by ``time.monotonic``.
            now_ns: the simulated time.
            wait: is called with the seconds to the next step, and should take about as long.
        """
        while (left_s := due_s - time.monotonic()) > 0:
            wait(min(left_s, MAX_STEP_S))
            self.tick(now_ns())

    def close(self) -> None:
        """Leave the ROS graph."""
        self._node.destroy_node()
        self._context.try_shutdown()

    def __enter__(self) -> Player:
        return self

    def __exit__(self, *exception) -> None:
        self.close()
