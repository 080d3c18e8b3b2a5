"""The executors that the nodes run on."""

import sys
import threading
import time

import pytest
import rclpy
import rig
from rclpy.executors import MultiThreadedExecutor, SingleThreadedExecutor
from std_msgs.msg import String

from ros2_derain.nodes import runtime

CHURN_S = 4.0
"""In this time the executor meets a publisher that is being destroyed: after 1 to 2 s in three tries."""


@pytest.mark.parametrize("executor", [SingleThreadedExecutor, MultiThreadedExecutor])
@pytest.mark.parametrize("create", [rig.composed, rig.separate])
def test_every_executor_runs_the_nodes(active, executor, create):
    made = active(create, executor=executor, prior="closed_loop", prior_timeout_ms=2000.0)
    for _ in range(2):
        made.pass_through()
    for node in reversed(made.nodes):
        assert made.change(node, "deactivate") and made.change(node, "cleanup")


def test_spinning_goes_on_while_another_thread_destroys_what_is_waited_for(ros):
    node = rclpy.create_node("churned")
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    stop = threading.Event()
    spinning = threading.Thread(target=runtime.spin, args=(executor, stop.is_set))
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        spinning.start()
        end = time.monotonic() + CHURN_S
        while time.monotonic() < end and spinning.is_alive():
            for publisher in [node.create_publisher(String, f"topic_{i}", 1) for i in range(4)]:
                node.destroy_publisher(publisher)
        assert spinning.is_alive()
    finally:
        sys.setswitchinterval(interval)
        stop.set()
        spinning.join()
        executor.shutdown()
        node.destroy_node()
