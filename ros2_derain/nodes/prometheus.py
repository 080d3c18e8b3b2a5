"""``ros2-derain metrics``: diagnostics of all cameras as a Prometheus page, on this computer only.

A process of its own: the pipeline itself opens no socket but those of DDS.
"""

from __future__ import annotations

import argparse
import re
import threading
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.executors import ExternalShutdownException

from ros2_derain.nodes import topics

LOOPBACK = "127.0.0.1"
PORT = 9464
SUFFIX = ": pipeline"

EXAMPLES = """examples:
  ros2-derain metrics
  curl http://127.0.0.1:9464/metrics"""


class MetricsError(Exception):
    """The page cannot be served; the message says why and what to do."""


class Page:
    """The latest status of every node, as text. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._statuses: dict[str, DiagnosticStatus] = {}

    def take(self, message: DiagnosticArray) -> None:
        """Keep what a message says of pipelines; others' diagnostics are left alone."""
        with self._lock:
            for status in message.status:
                if status.name.endswith(SUFFIX):
                    self._statuses[status.name.removesuffix(SUFFIX)] = status

    def text(self) -> str:
        """The page, in Prometheus's text format: a metric for each number, a label for each node."""
        with self._lock:
            statuses = dict(self._statuses)
        samples: dict[str, list[str]] = {}
        for node, status in sorted(statuses.items()):
            for metric, value in _numbers(status).items():
                samples.setdefault(metric, []).append(f'{metric}{{node="{_escaped(node)}"}} {value:g}')
        lines = []
        for metric, found in sorted(samples.items()):
            lines += [f"# TYPE {metric} gauge", *found]
        return "\n".join(lines) + "\n"


def serve(page: Page, port: int) -> ThreadingHTTPServer:
    """Serve the page on the loopback interface, in a thread; shut the result down to end it.

    Raises:
        MetricsError: the port cannot be had.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802
            if self.path != "/metrics":
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            body = page.text().encode()
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_) -> None:
            """Say nothing of each request."""

    try:
        server = ThreadingHTTPServer((LOOPBACK, port), Handler)
    except OSError as error:
        raise MetricsError(f"--port {port}: {error.strerror}; name another one") from error
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
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
    node.create_subscription(DiagnosticArray, topics.DIAGNOSTICS.name, page.take, 50)
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
    """Level and every value that is a number, by the metric's name."""
    found = {"ros2_derain_level": float(int.from_bytes(status.level, "little"))}
    for pair in status.values:
        try:
            found["ros2_derain_" + re.sub("[^a-zA-Z0-9_]", "_", pair.key)] = float(pair.value)
        except ValueError:
            continue
    return found


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
