"""The launch file, started as ros2 launch starts it, where ``launch`` is installed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("launch_ros", reason="launch is not on PyPI: needs a ROS distribution")

import rclpy
from ament_index_python.packages import get_package_prefix
from launch.actions import DeclareLaunchArgument
from launch.launch_description_sources import get_launch_description_from_python_launch_file
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState

LAUNCH_FILE = Path(__file__).resolve().parent.parent.parent / "launch/pipeline.launch.py"
ARGUMENTS = {
    "params_file",
    "namespace",
    "cameras",
    "image",
    "camera_info",
    "composed",
    "planner",
    "points",
    "model",
    "device",
    "runtime",
    "use_sim_time",
    "autostart",
    "log_level",
    "respawn",
}
UP_WITHIN_S = 90.0

try:
    get_package_prefix("ros2_derain")
except (LookupError, OSError):
    pytest.skip("ros2_derain is not installed in a sourced workspace", allow_module_level=True)

RUN = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
given = [tuple(argument.split(":=", 1)) for argument in sys.argv[2:]]
source = PythonLaunchDescriptionSource(sys.argv[1])
service = LaunchService()
service.include_launch_description(
    LaunchDescription([IncludeLaunchDescription(source, launch_arguments=given)])
)
sys.exit(service.run())
"""


@pytest.fixture
def launched(tmp_path):
    """Starts the launch file with arguments; interrupts it after the test."""
    started = []

    def start(*arguments: str) -> Path:
        log = tmp_path / "launch.log"
        command = [sys.executable, "-c", RUN, str(LAUNCH_FILE), *arguments]
        environment = {**os.environ, "ROS_LOG_DIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
        with log.open("w") as file:
            started.append(subprocess.Popen(command, stdout=file, stderr=file, env=environment))
        return log

    yield start
    for process in started:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)


@pytest.fixture
def observer():
    context = rclpy.Context()
    context.init()
    node = rclpy.create_node("observer", context=context)
    yield node
    node.destroy_node()
    context.shutdown()


def state(observer, name: str) -> int | None:
    """The id of a lifecycle node's state, or None while there is no answer."""
    client = observer.create_client(GetState, f"{name}/get_state")
    try:
        if not client.wait_for_service(timeout_sec=1.0):
            return None
        future = client.call_async(GetState.Request())
        executor = rclpy.executors.SingleThreadedExecutor(context=observer.context)
        executor.add_node(observer)
        executor.spin_until_future_complete(future, timeout_sec=1.0)
        executor.remove_node(observer)
        return future.result().current_state.id if future.done() else None
    finally:
        observer.destroy_client(client)


def wait_for_state(observer, name: str, expected: int, log: Path) -> None:
    end = time.monotonic() + UP_WITHIN_S
    while state(observer, name) != expected:
        assert time.monotonic() < end, f"{name} not in state {expected}:\n{log.read_text()}"


def pids(log: Path, executable: str) -> list[int]:
    lines = [text for text in log.read_text().splitlines() if f"[{executable}-" in text]
    return [int(text.rpartition("[")[2].rstrip("]")) for text in lines if "started with pid" in text]


def test_every_argument_is_declared_and_described():
    entities = get_launch_description_from_python_launch_file(str(LAUNCH_FILE)).entities
    declared = {e.name: e for e in entities if isinstance(e, DeclareLaunchArgument)}
    assert set(declared) == ARGUMENTS
    assert all(argument.description for argument in declared.values())


@pytest.mark.slow
@pytest.mark.parametrize("composed", ["true", "false"])
def test_both_nodes_become_active(launched, observer, composed):
    log = launched(f"composed:={composed}", "namespace:=front", "image:=/camera/rainy", "device:=cpu")
    for name in ("/front/derain_node", "/front/segmentation_node"):
        wait_for_state(observer, name, State.PRIMARY_STATE_ACTIVE, log)
    assert len(pids(log, "pipeline")) == (composed == "true")
    assert len(pids(log, "derain_node")) == (composed == "false")
    assert observer.count_subscribers("/camera/rainy") == 1


@pytest.mark.slow
@pytest.mark.parametrize("composed", ["true", "false"])
def test_a_planner_becomes_active_where_it_is_asked_for(launched, observer, composed):
    log = launched(f"composed:={composed}", "planner:=true", "points:=/lidar/points", "device:=cpu")
    for name in ("/derain_node", "/segmentation_node", "/planner_node"):
        wait_for_state(observer, name, State.PRIMARY_STATE_ACTIVE, log)
    assert observer.count_subscribers("/lidar/points") == 1


@pytest.mark.slow
def test_without_autostart_the_nodes_wait(launched, observer):
    log = launched("autostart:=false", "device:=cpu")
    wait_for_state(observer, "/derain_node", State.PRIMARY_STATE_UNCONFIGURED, log)
    wait_for_state(observer, "/segmentation_node", State.PRIMARY_STATE_UNCONFIGURED, log)


@pytest.mark.slow
def test_respawned_process_becomes_active_again(launched, observer):
    log = launched("respawn:=true", "device:=cpu")
    wait_for_state(observer, "/derain_node", State.PRIMARY_STATE_ACTIVE, log)
    os.kill(pids(log, "pipeline")[0], signal.SIGKILL)
    end = time.monotonic() + UP_WITHIN_S
    while len(pids(log, "pipeline")) < 2:
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.1)
    wait_for_state(observer, "/derain_node", State.PRIMARY_STATE_ACTIVE, log)


def test_missing_params_file_is_named(launched):
    log = launched("params_file:=/nowhere/pipeline.yaml")
    end = time.monotonic() + 30
    while "params_file:=/nowhere/pipeline.yaml is not a file" not in log.read_text():
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.1)
