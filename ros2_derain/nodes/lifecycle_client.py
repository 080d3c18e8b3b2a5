"""Service calls to other nodes, repeated while there is no response; lifecycle states and transitions.

While two processes still discover each other, a request or its response may be lost, and under load the
transport may refuse a request.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.node import Node
from rclpy.task import Future

from ros2_derain.nodes.sending import RCLError

RETRY_S = 1.0
"""A request is repeated after this long."""

REACHED = {
    "configure": "inactive",
    "activate": "active",
    "deactivate": "inactive",
    "cleanup": "unconfigured",
    "shutdown": "finalized",
}
"""Lifecycle transition -> the state that it leads to."""


class LifecycleClient:
    """Calls services and waits for the responses.

    Args:
        node: makes the calls; names are relative to its namespace.
        spin_until: spins the node until a condition holds or the given seconds have passed;
            returns whether it held.
    """

    def __init__(self, node: Node, spin_until: Callable[[Callable[[], bool], float], bool]) -> None:
        self._node, self._spin_until = node, spin_until
        self._clients: dict[str, Any] = {}

    def call(self, kind: type, name: str, request: Any, timeout_s: float) -> Any:
        """The response of a service to a request that may be repeated.

        Raises:
            TimeoutError: there was none.
        """
        client, end = self._client(kind, name), time.monotonic() + timeout_s
        sent: list[Future] = []
        responded = lambda: any(future.done() for future in sent)  # noqa: E731
        try:
            while not responded():
                left = end - time.monotonic()
                if left <= 0 or not self._spin_until(client.service_is_ready, left):
                    raise TimeoutError(f"{name} did not respond within {timeout_s:g} s")
                sent.append(_request(client, request))
                self._spin_until(responded, min(left, RETRY_S))
        finally:
            for future in sent:
                if not future.done():
                    client.remove_pending_request(future)
        return next(future.result() for future in sent if future.done())

    def state(self, node: str, timeout_s: float) -> str:
        """The lifecycle state of a node, such as ``inactive``.

        Raises:
            TimeoutError: it did not respond.
        """
        return self.call(GetState, f"{node}/get_state", GetState.Request(), timeout_s).current_state.label

    def change(self, node: str, transition: str, timeout_s: float) -> bool:
        """Have a node make a lifecycle transition; whether it did.

        The request is repeated when there is no response although the node is in a stable state. A
        repeated one is refused where the first was carried out: then the state decides.

        Raises:
            TimeoutError: the node did not respond.
        """
        end, sent = time.monotonic() + timeout_s, 0
        client = self._client(ChangeState, f"{node}/change_state")
        request = ChangeState.Request(transition=Transition(label=transition))
        while (left := end - time.monotonic()) > 0 and self._spin_until(client.service_is_ready, left):
            future = _request(client, request)
            sent += 1
            while not self._spin_until(future.done, RETRY_S) and time.monotonic() < end:
                if self._is_stable(node):
                    break
            if future.done():
                made = future.result().success
                return made or sent > 1 and self.state(node, timeout_s) == REACHED[transition]
            client.remove_pending_request(future)
        raise TimeoutError(f"{node} did not {transition} within {timeout_s:g} s")

    def _is_stable(self, node: str) -> bool:
        """Whether a node is in no transition; a busy one does not respond."""
        try:
            return self.state(node, RETRY_S) in REACHED.values()
        except TimeoutError:
            return False

    def _client(self, kind: type, name: str) -> Any:
        if name not in self._clients:
            self._clients[name] = self._node.create_client(kind, name)
        return self._clients[name]


def _request(client: Any, request: Any) -> Any:
    """The response to come: never, where the transport refused the request.

    Raises:
        RCLError: rclpy has ended.
    """
    try:
        return client.call_async(request)
    except RCLError:
        if not rclpy.ok():
            raise
        return Future()
