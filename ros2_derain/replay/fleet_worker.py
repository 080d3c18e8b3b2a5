"""What runs in a Ray worker: a process that nobody has prepared for ROS. Importing this loads no ROS."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ros2_derain import environment
from ros2_derain.replay.criteria import Criterion
from ros2_derain.replay.job import Job


def attempt(job: Job, folder: Path, demands: Sequence[Criterion]) -> str:
    """Replay one bag; why it could not be done, or ''. See :func:`fleet.attempt`."""
    environment.prepare()
    from ros2_derain.replay import fleet

    return fleet.attempt(job, folder, demands)
