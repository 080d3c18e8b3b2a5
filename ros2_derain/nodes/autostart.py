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
import time
from collections.abc import Sequence

import rclpy
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.executors import ExternalShutdownException
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.utilities import remove_ros_args

RCLError = rclpy_implementation.RCLError

LOOK_EVERY_S = 0.2
ANSWER_WITHIN_S = 1.0
"""Longest wait for an answer before asking again: on a busy machine the first one
may be lost while the node's service and we are still discovering each other."""

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
        self._getters = {name: self.create_client(GetState, f"{name}/get_state") for name in names}
        self._changers = {name: self.create_client(ChangeState, f"{name}/change_state") for name in names}

    def look(self) -> None:
        """Bring up every node whose process has started since the last look."""
        for name, known in self._brought_up.items():
            instance = self._instance(name)
            if instance - known:
                try:
                    self._bring_up(name)
                except TimeoutError as error:
                    self.get_logger().warning(
                        f"{error}; asking again", throttle_duration_sec=5.0, skip_first=True
                    )
                    continue
                except AutostartError as error:
                    self.get_logger().error(str(error))
            self._brought_up[name] = known | instance

    def _instance(self, name: str) -> frozenset[bytes]:
        """What tells one start of a node from the next; empty while there is none."""
        endpoints = self.get_publishers_info_by_topic(f"{name}/transition_event")
        return frozenset(bytes(endpoint.endpoint_gid) for endpoint in endpoints)

    def _bring_up(self, name: str) -> None:
        state = self._state(name)
        if state == State.PRIMARY_STATE_UNCONFIGURED:
            goal = State.PRIMARY_STATE_INACTIVE
            self._change(name, Transition.TRANSITION_CONFIGURE, "configure", state, goal)
            state = goal
        if state == State.PRIMARY_STATE_INACTIVE:
            goal = State.PRIMARY_STATE_ACTIVE
            self._change(name, Transition.TRANSITION_ACTIVATE, "activate", state, goal)
            self.get_logger().info(f"{name} is active")

    def _state(self, name: str) -> int:
        """The id of a node's state; TimeoutError if it gives no answer."""
        if self._getters[name].wait_for_service(timeout_sec=ANSWER_WITHIN_S):
            future = self._getters[name].call_async(GetState.Request())
            rclpy.spin_until_future_complete(self, future, timeout_sec=ANSWER_WITHIN_S)
            if future.done():
                return future.result().current_state.id
        raise TimeoutError(f"{name} does not tell its state")

    def _change(self, name: str, transition: int, label: str, start: int, goal: int) -> None:
        """Make a node change from the state ``start`` to ``goal``.

        Raises:
            AutostartError: the node refused.
            TimeoutError: it did not get there in time.
        """
        if not self._changers[name].wait_for_service(timeout_sec=ANSWER_WITHIN_S):
            raise TimeoutError(f"{name} offers no service change_state")
        end = time.monotonic() + TRANSITION_WITHIN_S
        while time.monotonic() < end:
            request = ChangeState.Request(transition=Transition(id=transition))
            future = self._changers[name].call_async(request)
            rclpy.spin_until_future_complete(self, future, timeout_sec=ANSWER_WITHIN_S)
            while not future.done() and time.monotonic() < end:
                state = self._state_if_told(name)
                if state in (start, goal):  # the request or its answer was lost
                    break
                rclpy.spin_until_future_complete(self, future, timeout_sec=ANSWER_WITHIN_S)
            if (future.done() and future.result().success) or self._state_if_told(name) == goal:
                return
            if future.done():
                raise AutostartError(
                    f"{name} refused to {label}: its own log says why. When that is mended, "
                    f"ros2 lifecycle set {self.get_namespace().rstrip('/')}/{name} {label}"
                )
        raise TimeoutError(f"{name} did not {label} within {TRANSITION_WITHIN_S:.0f} s")

    def _state_if_told(self, name: str) -> int | None:
        """The id of a node's state; None while it is too busy to tell."""
        try:
            return self._state(name)
        except TimeoutError:
            return None


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
    except RCLError:  # a signal ended rclpy in the middle of a call
        if rclpy.ok():
            raise
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
