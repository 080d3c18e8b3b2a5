"""What a process finds in its environment, each seen from a fresh Python process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ros2_derain import environment

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


def uses_fastdds() -> bool:
    return os.environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp") == "rmw_fastrtps_cpp"


def largest_segment(**variables: str) -> int:
    """Bytes of the largest shared-memory segment of a new node."""
    if not uses_fastdds():
        pytest.skip("the profile is Fast DDS's")
    code = """
from pathlib import Path
environment.prepare()
environment.isolate()
import rclpy
segments = lambda: {p: p.stat().st_size for p in Path("/dev/shm").glob("fast*") if p.exists()}
before = segments()
rclpy.init()
node = rclpy.create_node("probe")
print(max(size for path, size in segments().items() if path not in before))
rclpy.shutdown()
"""
    return int(run(code, **variables).stdout)


def test_prepare_sets_profile_and_idle_policy():
    found = after("environment.prepare()")
    (variable,) = {"FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"} & found.keys()
    assert Path(found[variable]).name == "fastdds.xml" and Path(found[variable]).is_file()
    assert found["OMP_WAIT_POLICY"] == "PASSIVE" and found["GOMP_SPINCOUNT"] == "1000"
    assert "ROS_DOMAIN_ID" not in found


def test_the_installed_rmw_decides_the_name_of_the_profile_whatever_ros_distro_is():
    """The node that is made then has the profile's segment in shared memory: it has been read."""
    for distribution in ("jazzy", "kilted"):
        assert largest_segment(ROS_DISTRO=distribution) > 10 * 1280 * 720 * 3


@pytest.mark.parametrize(
    ("version", "variable"),
    [("8.4.3", "FASTRTPS_DEFAULT_PROFILES_FILE"), ("9.3.3", "FASTDDS_DEFAULT_PROFILES_FILE")],
)
def test_the_rmw_of_a_distribution_decides_the_name_of_the_profile(tmp_path, version, variable):
    share = tmp_path / "share/rmw_fastrtps_cpp"
    share.mkdir(parents=True)
    (share / "package.xml").write_text(f"<package><version>{version}</version></package>")
    code = "import sys; sys.prefix = '/nowhere'; print(environment.profile_variable())"
    assert run(code, AMENT_PREFIX_PATH=f"/opt/overlay:{tmp_path}").stdout.strip() == variable


def test_without_a_home_logs_go_where_they_can_be_written(tmp_path):
    given = {"ROS_LOG_DIR": "", "ROS_HOME": "", "TMPDIR": str(tmp_path), "HOME": "/proc/nowhere"}
    found = after("environment.prepare()", **given)
    assert Path(found["ROS_LOG_DIR"]).parent == tmp_path and os.access(found["ROS_LOG_DIR"], os.W_OK)


def test_prepare_keeps_what_the_user_set():
    users = {environment.profile_variable(): "/mine.xml", "OMP_WAIT_POLICY": "ACTIVE", "ROS_DOMAIN_ID": "7"}
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


def test_isolate_avoids_domains_that_are_in_use_on_this_machine():
    """All but one are: that one is chosen."""
    code = """
import contextlib, socket
chosen, held = environment.isolate(), []
for domain_id in set(environment.DOMAIN_IDS) - {chosen}:
    held.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    with contextlib.suppress(OSError):  # another process holds it
        held[-1].bind(("", 7400 + 250 * domain_id + 10))
print(chosen, environment.isolate())
"""
    chosen, again = run(code).stdout.split()
    assert chosen == again


def test_sockets_hold_an_image():
    """Where processes share no memory, images go over UDP; the system's default holds a fifth of one."""
    limit = min(int(Path(f"/proc/sys/net/core/{name}").read_text()) for name in ("rmem_max", "wmem_max"))
    if not uses_fastdds() or limit < 4 << 20:
        pytest.skip("needs Fast DDS, and net.core.rmem_max and wmem_max of 4 MiB")
    code = """
import os, socket
environment.prepare()
environment.isolate()
import rclpy
rclpy.init()
node = rclpy.create_node("probe")
largest = dict.fromkeys((socket.SO_RCVBUF, socket.SO_SNDBUF), 0)
for descriptor in os.listdir("/proc/self/fd"):
    try:
        opened = socket.socket(fileno=os.dup(int(descriptor)))
    except OSError:
        continue
    for kind in largest:
        largest[kind] = max(largest[kind], opened.getsockopt(socket.SOL_SOCKET, kind))
print(min(largest.values()))
rclpy.shutdown()
"""
    assert int(run(code).stdout) >= 2 * (4 << 20), "the kernel doubles what is set"
