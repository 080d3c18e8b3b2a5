"""Hand messages to the transport, which refuses some under load or while a receiver ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.impl.implementation_singleton import rclpy_implementation

RCLError = rclpy_implementation.RCLError
"""Raised by rclpy for a message that the transport refused, and once a signal has ended rclpy."""

PATIENCE_S = 0.3
"""A refused message is handed over again for this long; the transport itself waits up to 0.1 s each time."""

PAUSE_S = 0.01


def send(publish: Callable[[Any], None], message: Any, patience_s: float = PATIENCE_S) -> None:
    """Publish a message, again if the transport refuses it.

    Args:
        publish: a publisher's method.
        message: what it publishes.
        patience_s: for how many seconds.

    Raises:
        RCLError: refused all that time, or rclpy has ended.
    """
    end = time.monotonic() + patience_s
    while True:
        try:
            return publish(message)
        except RCLError:
            if time.monotonic() >= end or not rclpy.ok():
                raise
        time.sleep(PAUSE_S)
