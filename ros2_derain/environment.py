"""Environment variables that ROS 2, Fast DDS and OpenMP read when they are loaded.

Call :func:`prepare` before rclpy or torch is imported. What the user has set
stays as it is. Children inherit all of it.

ROS 2 from PyPI (``ros-rclpy``) finds its libraries by itself: its start-up hook
runs Python a second time with ``LD_LIBRARY_PATH`` and
``_ROS_WHEELS_BOOTSTRAP_COMPLETE`` set. A child with the same interpreter needs
nothing more; one with another environment's interpreter needs both unset.
"""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import socket
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

from ros2_derain import resources

DOMAIN_IDS = range(1, 102)
"""Domains whose ports stay below Linux's ephemeral range; 0 is everyone's default."""

_PORTS_OF_DOMAIN = 250  # DDSI-RTPS 2.5, section 9.6.2: the ports of domain d begin at 7400 + 250 d
_FIRST_UNICAST_PORT = 7410
_PARTICIPANTS = 10  # of which a used domain has one: those of processes that have ended are given again

FASTDDS_3_SINCE = 9
"""First major version of rmw_fastrtps_cpp with Fast DDS 3 (Kilted); Jazzy has version 8."""

SHARED_MEMORY = Path("/dev/shm")
SHARED_MEMORY_MB = 512
"""The size that it should have: 64 MB for each process (see ``config/fastdds.xml``)."""

_M_TRIM_THRESHOLD = -1  # mallopt(3)
_M_MMAP_MAX = -4


def prepare() -> None:
    """Set what this process and its children need to pass camera images over ROS 2.

    * ``AMENT_PREFIX_PATH`` gains ``sys.prefix`` where rclpy was installed there by pip.
    * Fast DDS gets the profile of ``config/fastdds.xml``: its default shared-memory
      segment loses most images between processes.
    * Idle OpenMP threads sleep, so that they don't take the cores from ROS threads; but not
      before they have looked for work for some 50 microseconds, which is longer than most
      layers of a network wait for the next.
    * Freed image buffers are kept for the next image, not given back to the system.
    * Logs go to a temporary folder where the usual one cannot be written, as without a HOME.

    Calling it again changes nothing.

    Raises:
        ros2_derain.resources.ResourceError: ``config/fastdds.xml`` is missing.
    """
    _add_prefix()
    os.environ.setdefault(profile_variable(), str(resources.path("config/fastdds.xml")))
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    _keep_freed_memory()
    _find_log_folder()


def profile_variable() -> str:
    """The variable that names Fast DDS's profile, by the installed rmw_fastrtps_cpp.

    Fast DDS 2 does not read the name that version 3 reads, and version 3 warns of the older one.
    ``ROS_DISTRO`` does not tell: it is not set where ROS 2 comes from PyPI.
    """
    for prefix in (sys.prefix, *_ament_prefixes()):
        manifest = Path(prefix) / "share/rmw_fastrtps_cpp/package.xml"
        if manifest.is_file():
            version = ElementTree.parse(manifest).findtext("version", "")
            if int(version.partition(".")[0]) < FASTDDS_3_SINCE:
                return "FASTRTPS_DEFAULT_PROFILES_FILE"
            break
    return "FASTDDS_DEFAULT_PROFILES_FILE"


def warn_of_small_shared_memory() -> None:
    """Print a warning where Fast DDS has too little shared memory for images, so that it would lose most."""
    if not os.environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp").startswith("rmw_fastrtps"):
        return
    try:
        size_mb = shutil.disk_usage(SHARED_MEMORY).total / 2**20
    except OSError:
        size_mb = 0.0
    if size_mb < SHARED_MEMORY_MB:
        print(
            f"WARNING: {SHARED_MEMORY} has {size_mb:.0f} MB, images between processes may be lost: give it "
            f"{SHARED_MEMORY_MB} MB (docker run --shm-size {SHARED_MEMORY_MB}m, or mount -o "
            f"remount,size={SHARED_MEMORY_MB}m {SHARED_MEMORY})",
            file=sys.stderr,
        )


def isolate(domain_id: int | None = None) -> int:
    """Confine this process and its children to this machine and to one ROS domain.

    For the demo, the benchmark and the tests, which play a camera and must not
    reach a running vehicle: it replaces what the user has set.

    Args:
        domain_id: the domain; by default a random one of :data:`DOMAIN_IDS` that no process of this
            machine is in.

    Returns:
        The domain id in force.
    """
    chosen = _unused_domain() if domain_id is None else domain_id
    os.environ["ROS_DOMAIN_ID"] = str(chosen)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    return chosen


def _unused_domain() -> int:
    """A random domain that is not in use here; any, where all are."""
    domains = random.SystemRandom().sample(DOMAIN_IDS, len(DOMAIN_IDS))
    return next(filter(_is_unused, domains), domains[0])


def _is_unused(domain_id: int) -> bool:
    first = _FIRST_UNICAST_PORT + _PORTS_OF_DOMAIN * domain_id
    for participant in range(_PARTICIPANTS):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("", first + 2 * participant))
            except OSError:
                return False
    return True


def _add_prefix() -> None:
    marker = Path(sys.prefix) / "share/ament_index/resource_index/packages/rclpy"
    prefixes = _ament_prefixes()
    if marker.exists() and sys.prefix not in prefixes:
        os.environ["AMENT_PREFIX_PATH"] = os.pathsep.join([sys.prefix, *prefixes])


def _ament_prefixes() -> list[str]:
    return [p for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]


def _find_log_folder() -> None:
    """Set ``ROS_LOG_DIR`` where rclpy could not make its folder, and would end the process."""
    ros_home = os.environ.get("ROS_HOME") or os.path.join(os.path.expanduser("~"), ".ros")
    usual = os.environ.get("ROS_LOG_DIR") or os.path.join(ros_home, "log")
    fallback = os.path.join(tempfile.gettempdir(), f"ros2_derain_log_{os.getuid()}")
    if _can_write(usual):
        if "HOME" not in os.environ:  # which rclpy would look for
            os.environ["ROS_LOG_DIR"] = usual
    elif _can_write(fallback):
        print(f"ros2_derain: {usual} cannot be written: logs go to {fallback}", file=sys.stderr)
        os.environ["ROS_LOG_DIR"] = fallback


def _can_write(folder: str) -> bool:
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def _keep_freed_memory() -> None:
    """Serve buffers of any size from the heap and keep it: page faults cost more than the copy."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # not glibc
        return
    if "MALLOC_MMAP_MAX_" not in os.environ:
        mallopt(_M_MMAP_MAX, 0)
    if "MALLOC_TRIM_THRESHOLD_" not in os.environ:
        mallopt(_M_TRIM_THRESHOLD, 1 << 30)
