import sys
from pathlib import Path

import pytest
import rclpy

sys.path.insert(0, str(Path(__file__).parent))
import rig  # noqa: E402


@pytest.fixture(scope="session")
def ros():
    """rclpy in this process."""
    rclpy.init()
    yield
    rclpy.try_shutdown()


@pytest.fixture
def make_rig(ros, rainy_model):
    """Makes rigs, each in a namespace of its own; see :class:`rig.Rig`."""
    rigs = []

    def make(create=rig.composed, model=rainy_model, executor=rig.runtime.make_executor, **parameters):
        rigs.append(rig.Rig(create, {"model": str(model), **parameters}, executor))
        return rigs[-1]

    yield make
    for made in rigs:
        made.close()


@pytest.fixture
def active(make_rig):
    """Makes rigs whose nodes are active and know the camera."""

    def make(create=rig.composed, **parameters):
        made = make_rig(create, **parameters)
        made.activate()
        return made

    return make
