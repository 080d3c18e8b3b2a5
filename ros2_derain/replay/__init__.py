"""Replays of bags through the engine or through a running pipeline, and the reports on them.

Importing it makes the environment ready for ROS and torch, also in the worker processes of a fleet.
"""

from ros2_derain import environment

environment.prepare()


class ReplayError(Exception):
    """A replay cannot be done; the message says what is wrong and what to do."""
