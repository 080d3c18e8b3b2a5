"""Machine, versions and commit of a measurement."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import ros2_derain

PACKAGES = ("torch", "numpy", "opencv-python-headless", "ros-rclpy", "rosbags")


def describe() -> dict[str, str | int | float]:
    """The machine: processor, cores that this process may use, memory, GPU, system."""
    return {
        "processor": processor(),
        "cores": cores(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpu": _gpu(),
        "system": f"{platform.system()} {platform.release()}",
    }


def in_words(described: Mapping) -> str:
    """What :func:`describe` gives as text: processor, cores and GPU."""
    gpu = f", {described['gpu']}" if described["gpu"] else ""
    return f"{described['processor']}, {described['cores']} cores{gpu}"


def cores() -> int:
    """Number that this process may use; 0 where the system does not report it."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 0


def versions() -> dict[str, str]:
    """Versions of the package and of those below it."""
    found = {"ros2_derain": commit(), "python": platform.python_version()}
    if os.environ.get("ROS_DISTRO"):
        found["ros_distro"] = os.environ["ROS_DISTRO"]
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """The commit of the source tree, with ``+`` where it was changed; else the package's version."""
    tree = Path(ros2_derain.__file__).resolve().parent.parent
    if (tree / ".git").exists():
        try:
            head = _git(tree, "rev-parse", "--short=12", "HEAD")
            return head + ("+" if _git(tree, "status", "--porcelain", "--untracked-files=no") else "")
        except (OSError, subprocess.CalledProcessError):
            pass
    try:
        return metadata.version("ros2_derain")
    except metadata.PackageNotFoundError:
        return "unknown"


def _git(tree: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(tree), *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def processor() -> str:
    """Name of the processor, such as ``Intel(R) Xeon(R) Processor``."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model")))
    return next(named, platform.machine())


class StealMeter:
    """How much of the cores' time a hypervisor gives to other machines, from when this is made.

    What is measured meanwhile is measured on a slower machine.
    """

    def __init__(self) -> None:
        self._begin = _core_time()

    def share(self) -> float:
        """0..1, of all cores; 0 where the system does not report it."""
        stolen, total = (now - begin for now, begin in zip(_core_time(), self._begin, strict=True))
        return stolen / total if total else 0.0


def _core_time() -> tuple[int, int]:
    """Stolen and all time of all cores since the system's start, in ticks (proc(5), ``/proc/stat``)."""
    try:
        with open("/proc/stat") as file:
            ticks = [int(field) for field in file.readline().split()[1:9]]
    except OSError:
        return 0, 0
    return ticks[7], sum(ticks)


def _gpu() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else ""


def cpu_computes_bfloat16() -> bool:
    """AMX or AVX512-BF16: elsewhere bfloat16 is emulated and slower than float32."""
    try:
        with open("/proc/cpuinfo") as file:
            flags = next((line for line in file if line.startswith("flags")), "").split()
    except OSError:
        return False
    return "amx_bf16" in flags or "avx512_bf16" in flags
