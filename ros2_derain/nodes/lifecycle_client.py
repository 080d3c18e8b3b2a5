"""Questions to the services of other nodes, asked again while no answer comes.

While two processes still discover each other, a request or its answer may be lost.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.node import Node

ANSWER_S = 1.0
"""A question is asked again after this long."""

REACHED = {
    "configure": "inactive",
    "activate": "active",
    "deactivate": "inactive",
    "cleanup": "unconfigured",
    "shutdown": "finalized",
}
"""Lifecycle transition to the state that it leads to."""


class Questions:
    """Asks services and waits for the answers.

    Args:
        node: asks; names are relative to its namespace.
        spin_until: spins the node until a condition holds or so many seconds are over;
            returns whether it held.
    """

    def __init__(self, node: Node, spin_until: Callable[[Callable[[], bool], float], bool]) -> None:
        self._node, self._spin_until = node, spin_until
        self._clients: dict[str, Any] = {}

    def ask(self, kind: type, name: str, request: Any, timeout_s: float) -> Any:
        """The answer of a service to a question that may be repeated.

        Raises:
            TimeoutError: it gave none.
        """
        client, end, asked = self._client(kind, name), time.monotonic() + timeout_s, []
        answered = lambda: any(question.done() for question in asked)  # noqa: E731
        while not answered():
            left = end - time.monotonic()
            if left <= 0 or not self._spin_until(client.service_is_ready, left):
                raise TimeoutError(f"{name} did not answer within {timeout_s:g} s")
            asked.append(client.call_async(request))
            self._spin_until(answered, min(left, ANSWER_S))
        for question in asked:
            if not question.done():
                client.remove_pending_request(question)
        return next(question.result() for question in asked if question.done())

    def state(self, node: str, timeout_s: float) -> str:
        """The lifecycle state of a node, such as ``inactive``.

        Raises:
            TimeoutError: it does not tell.
        """
        return self.ask(GetState, f"{node}/get_state", GetState.Request(), timeout_s).current_state.label

    def change(self, node: str, transition: str, timeout_s: float) -> bool:
        """Have a node make a lifecycle transition; whether it did.

        The request is repeated when there is no answer although the node is at rest. A
        repeated one is refused where the first was carried out: then the state counts.

        Raises:
            TimeoutError: the node gave no answer.
        """
        end, asked = time.monotonic() + timeout_s, 0
        client = self._client(ChangeState, f"{node}/change_state")
        request = ChangeState.Request(transition=Transition(label=transition))
        while (left := end - time.monotonic()) > 0 and self._spin_until(client.service_is_ready, left):
            question = client.call_async(request)
            asked += 1
            while not self._spin_until(question.done, ANSWER_S) and time.monotonic() < end:
                if self._is_at_rest(node):
                    break
            if question.done():
                made = question.result().success
                return made or asked > 1 and self.state(node, timeout_s) == REACHED[transition]
            client.remove_pending_request(question)
        raise TimeoutError(f"{node} did not {transition} within {timeout_s:g} s")

    def _is_at_rest(self, node: str) -> bool:
        """Whether a node tells that it is not in a transition; a busy one tells nothing."""
        try:
            return self.state(node, ANSWER_S) in REACHED.values()
        except TimeoutError:
            return False

    def _client(self, kind: type, name: str) -> Any:
        if name not in self._clients:
            self._clients[name] = self._node.create_client(kind, name)
        return self._clients[name]
