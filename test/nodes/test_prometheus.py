"""Diagnostics as a Prometheus page: every number, on this computer only."""

import urllib.request

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from prometheus_client import generate_latest

from ros2_derain.messages import topics
from ros2_derain.nodes import prometheus


def array(name, level=b"\x01", **values):
    pairs = [KeyValue(key=key.replace("__", "."), value=value) for key, value in values.items()]
    return DiagnosticArray(status=[DiagnosticStatus(name=name, level=level, values=pairs)])


@pytest.fixture
def served():
    page = prometheus.Page()
    server = prometheus.serve(page, 0)
    yield page, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def read(url):
    with urllib.request.urlopen(url, timeout=30) as response:
        return response.read().decode()


def text(page):
    return generate_latest(page.registry).decode()


def test_numbers_of_every_camera_are_served(served):
    page, url = served
    page.add(array("front/derain_node: pipeline", frames_received="7", latency_ms__derain__p95="12.5"))
    page.add(array("left/derain_node: pipeline", b"\x00", frames_received="8", model="loopnet"))
    page.add(array("somebody/else: engine", temperature="90"))
    lines = read(f"{url}/metrics").splitlines()
    assert 'ros2_derain_latency_ms_derain_p95{node="front/derain_node"} 12.5' in lines
    assert 'ros2_derain_frames_received{node="left/derain_node"} 8.0' in lines
    assert 'ros2_derain_level{node="front/derain_node"} 1.0' in lines
    assert lines.count("# TYPE ros2_derain_frames_received gauge") == 1
    assert not any("loopnet" in line or "temperature" in line for line in lines)


def test_every_path_gives_the_page_and_no_file(served):
    page, url = served
    page.add(array("front/derain_node: pipeline", frames_received="7"))
    assert read(f"{url}/etc/passwd") == read(f"{url}/../etc/passwd") == text(page)


def test_the_page_is_served_on_this_computer_only(served):
    server = prometheus.serve(prometheus.Page(), 0)
    assert server.server_address[0] == "127.0.0.1"
    with pytest.raises(prometheus.MetricsError, match="name another one"):
        prometheus.serve(prometheus.Page(), server.server_port)
    server.shutdown()
    server.server_close()


def test_the_page_shows_a_running_pipeline(active):
    made, page = active(), prometheus.Page()
    made.client.node.create_subscription(DiagnosticArray, topics.DIAGNOSTICS.name, page.add, 50)
    node = f"{made.namespace.strip('/')}/derain_node"
    assert made.client.until(lambda: f'ros2_derain_frames_received{{node="{node}"}} 0.0' in text(page))
