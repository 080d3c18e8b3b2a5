"""Subscribes to topics of images, reliably, and does nothing with them: a subscriber to disturb.

python -m ros2_derain.ros_testing.listener derain/image derain/trust
"""

from __future__ import annotations

import sys

import rclpy
from rclpy.executors import ExternalShutdownException
from sensor_msgs.msg import Image

from ros2_derain.nodes import topics


def main(names: list[str]) -> None:
    """Listen until SIGINT or SIGTERM."""
    rclpy.init()
    node = rclpy.create_node("listener")
    for name in names:
        node.create_subscription(Image, name, lambda message: None, topics.recent())
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main(sys.argv[1:])
