"""Configures and activates lifecycle nodes whenever they appear.

``launch/pipeline.launch.py`` starts it with ``autostart:=true``; it is the one
owner of autostart, whether the nodes share a process or not::

    autostart segmentation_node derain_node --ros-args -r __ns:=/front

A node is brought up once for every time its process starts, so a respawned node
comes back, and one that was deactivated on purpose stays as it is. A node
that refuses a transition is left alone after one error that names it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.utilities import remove_ros_args

from ros2_derain.nodes.lifecycle_client import REACHED, LifecycleClient
from ros2_derain.nodes.sending import RCLError

LOOK_EVERY_S = 0.2
SPIN_S = 0.05
RESPONSE_TIMEOUT_S = 1.0
"""Longest wait for the state of a node, before the others are checked."""

TRANSITION_WITHIN_S = 300.0
"""Longest wait for a transition: configuring loads a model and warms it up."""


class AutostartError(Exception):
    """A node refused a transition; the message names both and what to do."""


class Autostart(Node):
    """Watches for lifecycle nodes in its own namespace.

    Args:
        names: names of the nodes, in the order in which they are brought up.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__("autostart")
        self._brought_up: dict[str, frozenset[bytes]] = {name: frozenset() for name in names}
        self._client = LifecycleClient(self, self._spin_until)

    def look(self) -> None:
        """Bring up every node whose process has started since the last look."""
        for name, known in self._brought_up.items():
            instance = self._instance(name)
            if instance - known:
                try:
                    self._bring_up(name)
                except TimeoutError as error:
                    self.get_logger().warning(
                        f"{error}; requesting again", throttle_duration_sec=5.0, skip_first=True
                    )
                    continue
                except AutostartError as error:
                    self.get_logger().error(str(error))
            self._brought_up[name] = known | instance

    def _instance(self, name: str) -> frozenset[bytes]:
        """Identifies one start of a node; empty while there is none."""
        endpoints = self.get_publishers_info_by_topic(f"{name}/transition_event")
        return frozenset(bytes(endpoint.endpoint_gid) for endpoint in endpoints)

    def _bring_up(self, name: str) -> None:
        state = self._client.state(name, RESPONSE_TIMEOUT_S)
        if state == "unconfigured":
            state = self._change(name, "configure")
        if state == "inactive":
            self._change(name, "activate")
            self.get_logger().info(f"{name} is active")

    def _change(self, name: str, transition: str) -> str:
        """Make a node change its state; returns the new one.

        Raises:
            AutostartError: the node refused.
            TimeoutError: it did not get there in time.
        """
        if not self._client.change(name, transition, TRANSITION_WITHIN_S):
            raise AutostartError(
                f"{name} refused to {transition}: its own log says why. When that is fixed, "
                f"ros2 lifecycle set {self.get_namespace().rstrip('/')}/{name} {transition}"
            )
        return REACHED[transition]

    def _spin_until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        end = time.monotonic() + timeout_s
        while not condition():
            if not rclpy.ok():
                raise ExternalShutdownException
            if time.monotonic() > end:
                return False
            rclpy.spin_once(self, timeout_sec=SPIN_S)
        return True


def main(arguments: Sequence[str] | None = None) -> None:
    """Watch the named nodes until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="autostart", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", help="lifecycle nodes, in the order of their start")
    given = sys.argv if arguments is None else ["autostart", *arguments]
    names = parser.parse_args(remove_ros_args(given)[1:]).names
    rclpy.init(args=given)
    node = None
    try:
        node = Autostart(names)
        while rclpy.ok():
            node.look()
            rclpy.spin_once(node, timeout_sec=LOOK_EVERY_S)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except RCLError:  # a signal ended rclpy in the middle of a call
        if rclpy.ok():
            raise
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
