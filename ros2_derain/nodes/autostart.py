"""Configures and activates lifecycle nodes whenever they appear.

``launch/pipeline.launch.py`` starts it with ``autostart:=true``; it is the one
owner of autostart, whether the nodes share a process or not::

    autostart segmentation_node derain_node --ros-args -r __ns:=/front

A node is brought up once for every time its process starts, so a respawned node
comes back, and one that somebody deactivated on purpose stays as it is. A node
that refuses a transition is left alone after one error that names it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import rclpy
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.utilities import remove_ros_args

LOOK_EVERY_S = 0.2
ANSWER_WITHIN_S = 5.0
"""Longest wait for a node's service to be found and for its state."""

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

    def look(self) -> None:
        """Bring up every node whose process has started since the last look."""
        for name, known in self._brought_up.items():
            instance = self._instance(name)
            if instance - known:
                try:
                    self._bring_up(name)
                except TimeoutError as error:
                    self.get_logger().warning(f"{error}; asking again")
                    continue
                except AutostartError as error:
                    self.get_logger().error(str(error))
            self._brought_up[name] = instance

    def _instance(self, name: str) -> frozenset[bytes]:
        """What tells one start of a node from the next; empty while there is none."""
        endpoints = self.get_publishers_info_by_topic(f"{name}/transition_event")
        return frozenset(bytes(endpoint.endpoint_gid) for endpoint in endpoints)

    def _bring_up(self, name: str) -> None:
        state = self._call(name, GetState, GetState.Request(), ANSWER_WITHIN_S).current_state.id
        if state == State.PRIMARY_STATE_UNCONFIGURED:
            self._change(name, Transition.TRANSITION_CONFIGURE, "configure")
            state = State.PRIMARY_STATE_INACTIVE
        if state == State.PRIMARY_STATE_INACTIVE:
            self._change(name, Transition.TRANSITION_ACTIVATE, "activate")
            self.get_logger().info(f"{name} is active")

    def _change(self, name: str, transition: int, label: str) -> None:
        request = ChangeState.Request(transition=Transition(id=transition))
        if not self._call(name, ChangeState, request, TRANSITION_WITHIN_S).success:
            raise AutostartError(
                f"{name} refused to {label}: its own log says why. When that is mended, "
                f"ros2 lifecycle set {self.get_namespace().rstrip('/')}/{name} {label}"
            )

    def _call(self, name: str, kind: type, request: object, within_s: float) -> object:
        """Call one of a node's lifecycle services.

        Raises:
            TimeoutError: the service was not found, or gave no answer in time.
        """
        service = {GetState: "get_state", ChangeState: "change_state"}[kind]
        client = self.create_client(kind, f"{name}/{service}")
        try:
            if not client.wait_for_service(timeout_sec=ANSWER_WITHIN_S):
                raise TimeoutError(f"{name} offers no service {service}")
            future = client.call_async(request)
            rclpy.spin_until_future_complete(self, future, timeout_sec=within_s)
            if not future.done():
                raise TimeoutError(f"{name} did not answer {service} within {within_s:.0f} s")
            return future.result()
        finally:
            self.destroy_client(client)


def main(arguments: Sequence[str] | None = None) -> None:
    """Watch the named nodes until the process is told to stop."""
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
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
