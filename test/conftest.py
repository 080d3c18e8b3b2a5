"""What every test shares: an environment made ready before rclpy is imported, and the data.

Each test process has a ROS domain of its own on this machine's loopback, so that
test runs disturb neither each other nor a vehicle.
"""

import os
from pathlib import Path

import pytest

from ros2_derain import environment

environment.prepare()
environment.isolate()


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The real images, named by ROS2_DERAIN_DATA; skips the test where there are none."""
    named = os.environ.get("ROS2_DERAIN_DATA")
    if not named:
        pytest.skip("needs real images: set ROS2_DERAIN_DATA to the directory that holds camvid/")
    if not (Path(named) / "camvid").is_dir():
        pytest.fail(f"ROS2_DERAIN_DATA={named} holds no camvid/: correct it or unset it")
    return Path(named).resolve()


@pytest.fixture(scope="session")
def rainy_model(tmp_path_factory) -> str:
    """Path of a tiny model whose gauge always reads 100 mm/h."""
    import tiny_model  # imports torch, which wants the prepared environment

    return str(tiny_model.write(tmp_path_factory.mktemp("models") / "rainy", 100.0))


@pytest.fixture(scope="session")
def dry_model(tmp_path_factory) -> str:
    """Path of a tiny model whose gauge always reads 0 mm/h."""
    import tiny_model

    return str(tiny_model.write(tmp_path_factory.mktemp("models") / "dry", 0.0))
