"""Autostart, a process of its own, and real lifecycle nodes in this one."""

import itertools
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import rclpy
from limits import HANG_S
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn

NAMESPACES = (f"/autostart_test_{number}" for number in itertools.count())
"""One for each test: the ``transition_event`` of a destroyed node stays until Python collects the node."""


class Probe(LifecycleNode):
    """A lifecycle node that tells its state, counts its configurations and may refuse them."""

    def __init__(self, name: str, namespace: str, context: rclpy.Context, refuses: bool = False) -> None:
        super().__init__(name, namespace=namespace, context=context)
        self.configured = 0
        self.refuses = refuses
        self.state = "unconfigured"

    def on_configure(self, state):
        self.configured += 1
        if self.refuses:
            return TransitionCallbackReturn.FAILURE
        self.state = "inactive"
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state):
        self.state = "active"
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state):
        self.state = "inactive"
        return TransitionCallbackReturn.SUCCESS


class Graph:
    """Lifecycle nodes that are being spun, and a look at their states."""

    def __init__(self) -> None:
        self.namespace = next(NAMESPACES)
        self.context = rclpy.Context()
        self.context.init()
        self.executor = SingleThreadedExecutor(context=self.context)
        self._nodes: list[Probe] = []
        self._closing = threading.Event()
        self._spinning = threading.Lock()
        self._thread = threading.Thread(target=self._spin)
        self._thread.start()

    def _spin(self) -> None:
        while not self._closing.is_set():
            with self._spinning:
                self.executor.spin_once(timeout_sec=0.05)
            time.sleep(0.001)  # a thread that waits for the lock gets it

    @contextmanager
    def paused(self) -> Iterator[None]:
        """No callback runs meanwhile, and none is cut short."""
        with self._spinning:
            yield

    def add(self, name: str, refuses: bool = False) -> Probe:
        node = Probe(name, self.namespace, self.context, refuses)
        self.executor.add_node(node)
        self._nodes.append(node)
        return node

    def remove(self, node: Probe) -> None:
        with self.paused():
            self.executor.remove_node(node)
            self._nodes.remove(node)
            node.destroy_node()

    def close(self) -> None:
        self._closing.set()
        self._thread.join()
        self.executor.shutdown()
        for node in self._nodes:  # or the next test's autostart may find them
            node.destroy_node()
        self.context.shutdown()


def wait_for(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + HANG_S
    while not condition():
        assert time.monotonic() < end, f"not within {HANG_S:.0f} s: {what}"
        time.sleep(0.02)


@pytest.fixture
def graph() -> Iterator[Graph]:
    made = Graph()
    yield made
    made.close()


@pytest.fixture
def autostart(graph) -> Iterator[Callable[..., subprocess.Popen]]:
    """Starts ``autostart NAME...``; what it starts is gone after the test."""
    started = []

    def start(*names: str) -> subprocess.Popen:
        code = "from ros2_derain.nodes.autostart import main; main()"
        command = [sys.executable, "-c", code, *names, "--ros-args", "-r", f"__ns:={graph.namespace}"]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:  # killed outright, it would leave its shared memory behind
            stopped(process)
        process.stdout.close()


def stopped(process: subprocess.Popen, with_signal: int = signal.SIGINT) -> str:
    """Stop a process and return what it printed."""
    process.send_signal(with_signal)
    printed, _ = process.communicate(timeout=HANG_S)
    return printed


@pytest.mark.parametrize("with_signal", [signal.SIGINT, signal.SIGTERM])
def test_nodes_become_active_and_autostart_stops_cleanly(graph, autostart, with_signal):
    nodes = [graph.add("first"), graph.add("second")]
    process = autostart("first", "second")
    wait_for(lambda: [n.state for n in nodes] == ["active", "active"], "both nodes active")
    printed = stopped(process, with_signal)
    assert process.returncode == 0, printed
    assert "Traceback" not in printed


def test_node_that_comes_later_becomes_active(graph, autostart):
    autostart("first", "second")
    first = graph.add("first")
    wait_for(lambda: first.state == "active", "the first node active")
    second = graph.add("second")
    wait_for(lambda: second.state == "active", "the second node active")


def test_node_that_starts_again_becomes_active_again(graph, autostart):
    autostart("first")
    node = graph.add("first")
    wait_for(lambda: node.state == "active", "the node active")
    graph.remove(node)
    again = graph.add("first")
    wait_for(lambda: again.state == "active", "the new node active")


def test_refusal_is_reported_once_and_the_next_node_still_starts(graph, autostart):
    refusing, willing = graph.add("refusing", refuses=True), graph.add("willing")
    process = autostart("refusing", "willing", "later")
    wait_for(lambda: willing.state == "active", "the willing node active")
    later = graph.add("later")  # proof that autostart has looked at all nodes again
    wait_for(lambda: later.state == "active", "the later node active")
    assert refusing.state == "unconfigured"
    assert refusing.configured == 1
    printed = stopped(process)
    assert printed.count("refusing refused to configure") == 1
    assert f"ros2 lifecycle set {graph.namespace}/refusing configure" in printed


def test_a_deactivated_node_stays_inactive(graph, autostart):
    node = graph.add("first")
    process = autostart("first", "second")
    wait_for(lambda: node.state == "active", "the node active")
    with graph.paused():  # the activation is through
        node.trigger_deactivate()
    other = graph.add("second")  # proof that autostart goes on looking
    wait_for(lambda: other.state == "active", "the other node active")
    assert node.state == "inactive", stopped(process)


def test_configured_node_is_only_activated(graph, autostart):
    node = graph.add("first")
    node.trigger_configure()
    autostart("first")
    wait_for(lambda: node.state == "active", "the node active")
    assert node.configured == 1
