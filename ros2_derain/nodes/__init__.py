"""The ROS 2 nodes: the only room that knows rclpy and message packages.

Importing it makes the environment ready, which must happen before rclpy and torch
are loaded.
"""

from ros2_derain import environment

environment.prepare()
