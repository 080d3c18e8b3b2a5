"""Hand messages to the transport, which refuses some under load or while a receiver ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.impl.implementation_singleton import rclpy_implementation

RCLError = rclpy_implementation.RCLError
"""Raised by rclpy for a message that the transport refused, and once a signal has ended rclpy."""

ATTEMPTS = 3
"""A message is handed over this often; each time the transport itself waits for room, up to 0.1 s."""


def send(publish: Callable[[Any], None], message: Any, attempts: int = ATTEMPTS) -> None:
    """Publish a message, again if the transport refuses it.

    Args:
        publish: a publisher's method.
        message: what it publishes.
        attempts: how often, at least once.

    Raises:
        RCLError: refused each time, or rclpy has ended.
    """
    for left in reversed(range(attempts)):
        try:
            publish(message)
        except RCLError:
            if not left or not rclpy.ok():
                raise
        else:
            return
