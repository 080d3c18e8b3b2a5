"""Runs nodes in a process: executor, signals and a clean end."""

from __future__ import annotations

import contextlib
import inspect
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import rclpy
from rclpy.context import Context
from rclpy.exceptions import InvalidHandle, ParameterException
from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from ros2_derain.engine import EngineError
from ros2_derain.nodes.managed_node import ManagedNode
from ros2_derain.nodes.parameters import ParameterError

if TYPE_CHECKING:  # from Kilted on
    from rclpy.subscription import MessageInfo

POLL_S = 0.1
"""Longest time until a signal is noticed."""

Nodes = Sequence[ManagedNode]


class NotStartedError(Exception):
    """A node did not become active; the node has logged why."""


def run(
    create: Callable[[], Nodes],
    argv: list[str] | None = None,
    ready: Callable[[Nodes], None] = lambda nodes: None,
) -> int:
    """Create the nodes, spin them until SIGINT or SIGTERM, and shut them down.

    Args:
        create: makes the nodes.
        argv: the command line with ``--ros-args`` and so on; by default the process's.
        ready: called before spinning begins, for example to activate the nodes.

    Returns:
        the exit status: 0 after a signal, 1 where the nodes could not be started.
    """
    rclpy.init(args=argv, signal_handler_options=SignalHandlerOptions.NO)
    stop = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        return _serve(create, ready, stop)
    finally:
        rclpy.try_shutdown()
        for number, handler in before.items():
            signal.signal(number, handler)


def make_executor(context: Context | None = None) -> Executor:
    """The fastest executor that this ROS 2 has; drive it by ``spin_once``, as :func:`spin` does.

    Args:
        context: of the nodes; by default rclpy's own.
    """
    try:
        from rclpy.experimental import EventsExecutor
    except ImportError:
        return SingleThreadedExecutor(context=context)
    return EventsExecutor(context=context)


def with_info(callback: Callable[[Any, MessageInfo], None]) -> Callable[..., None]:
    """A subscription's callback of a message and rclpy's ``MessageInfo``, for every executor.

    rclpy inspects a callback's signature, and then passes two arguments; its events executor passes
    one tuple of both (rclpy 9.1).
    """

    def receive(*received: Any) -> None:
        callback(*(received if len(received) == 2 else received[0]))

    kind = inspect.Parameter.POSITIONAL_ONLY
    two = [inspect.Parameter(name, kind) for name in ("message", "info")]
    receive.__signature__ = inspect.Signature(two)  # type: ignore[attr-defined]
    return receive


def spin(executor: Executor, until: Callable[[], bool]) -> None:
    """Serve callbacks until ``until()`` holds or rclpy is shut down.

    A loop of ``spin_once``, because the events executor's own ``spin`` never
    dispatches anything in rclpy 9.1. Where another thread destroys what the executor is about to wait
    for, as a node's cleanup in a pool of threads does, rclpy raises InvalidHandle: then it is asked again.
    """
    while rclpy.ok() and not until():
        with contextlib.suppress(InvalidHandle):
            executor.spin_once(timeout_sec=POLL_S)


def activate(nodes: Nodes) -> None:
    """Configure all nodes, then activate them in the order given.

    Raises:
        NotStartedError: one refused.
    """
    for transition in ("configure", "activate"):
        for node in nodes:
            result = getattr(node, f"trigger_{transition}")()
            if result != type(result).SUCCESS:
                raise NotStartedError(f"{node.get_name()} did not {transition}")


def _serve(create: Callable[[], Nodes], ready: Callable[[Nodes], None], stop: threading.Event) -> int:
    try:
        nodes = create()
    except (ParameterException, ParameterError, EngineError) as error:
        print(f"not started: {error}", file=sys.stderr)
        return 1
    executor = make_executor()
    for node in nodes:
        executor.add_node(node)
    try:
        ready(nodes)
        spin(executor, stop.is_set)
    except NotStartedError as error:
        print(f"not started: {error}", file=sys.stderr)
        return 1
    finally:
        for node in reversed(nodes):
            if not node.finalized:
                node.trigger_shutdown()
            executor.remove_node(node)
            node.destroy_node()
        executor.shutdown()
    return 0
