"""The executors that the nodes run on."""

import pytest
import rig
from rclpy.executors import MultiThreadedExecutor, SingleThreadedExecutor


@pytest.mark.parametrize("executor", [SingleThreadedExecutor, MultiThreadedExecutor])
@pytest.mark.parametrize("create", [rig.composed, rig.separate])
def test_every_executor_runs_the_nodes(active, executor, create):
    made = active(create, executor=executor, prior="closed_loop", prior_timeout_ms=2000.0)
    for _ in range(2):
        made.pass_through()
    for node in reversed(made.nodes):
        assert made.change(node, "deactivate") and made.change(node, "cleanup")
