"""``ros2-derain metrics``: diagnostics of all cameras as a Prometheus page, on this computer only.

A process of its own: the pipeline itself opens no socket but those of DDS.
"""

from __future__ import annotations

import argparse
import re
import threading
from collections.abc import Iterator, Mapping
from wsgiref.simple_server import WSGIServer

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from rclpy.executors import ExternalShutdownException

from ros2_derain.messages import topics

LOOPBACK = "127.0.0.1"
PORT = 9464
SUFFIX = ": pipeline"

EXAMPLES = """examples:
  ros2-derain metrics
  curl http://127.0.0.1:9464/metrics"""


class MetricsError(Exception):
    """The page cannot be served; the message says why and what to do."""


class Page(Collector):
    """The latest status of every node: a gauge for each number, a label for each node.

    Safe to use from any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._statuses: dict[str, DiagnosticStatus] = {}
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def add(self, message: DiagnosticArray) -> None:
        """Keep the statuses of pipelines; other diagnostics are ignored."""
        with self._lock:
            for status in message.status:
                if status.name.endswith(SUFFIX):
                    self._statuses[status.name.removesuffix(SUFFIX)] = status

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The metrics, for the registry."""
        with self._lock:
            statuses = dict(self._statuses)
        gauges: dict[str, GaugeMetricFamily] = {}
        for node, status in sorted(statuses.items()):
            for metric, value in _numbers(status).items():
                text = "Of the node's diagnostics."
                gauge = gauges.setdefault(metric, GaugeMetricFamily(metric, text, labels=["node"]))
                gauge.add_metric([node], value)
        yield from gauges.values()


def serve(page: Page, port: int) -> WSGIServer:
    """Serve the page on the loopback interface, in a thread; shut the result down to end it.

    Raises:
        MetricsError: the port is not available.
    """
    try:
        server, _ = start_http_server(port, LOOPBACK, page.registry)
    except OSError as error:
        raise MetricsError(f"--port {port}: {error.strerror}; name another one") from error
    return server


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = "Serve /diagnostics of all pipelines to Prometheus, on the loopback interface."
    parser.epilog = EXAMPLES
    parser.add_argument("--port", type=int, default=PORT, help="default: %(default)s; 0: any that is free")


def main(args: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM; returns the exit status."""
    page = Page()
    server = serve(page, args.port)
    print(f"http://{LOOPBACK}:{server.server_port}/metrics", flush=True)
    rclpy.init(args=[])
    node = rclpy.create_node("derain_metrics")
    node.create_subscription(DiagnosticArray, topics.DIAGNOSTICS.name, page.add, 50)
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        server.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


def _numbers(status: DiagnosticStatus) -> Mapping[str, float]:
    """The level and every numeric value, by the metric's name."""
    found = {"ros2_derain_level": float(int.from_bytes(status.level, "little"))}
    for pair in status.values:
        try:
            found["ros2_derain_" + re.sub("[^a-zA-Z0-9_]", "_", pair.key)] = float(pair.value)
        except ValueError:
            continue
    return found
