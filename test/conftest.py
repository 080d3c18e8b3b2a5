"""What every test shares: an environment made ready before rclpy is imported, and the data.

Each test process has a ROS domain of its own on this machine's loopback, and each test run a cache of
compiled graphs of its own, so that test runs disturb neither each other nor a vehicle.
"""

import os
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from ros2_derain import environment

environment.prepare()

_worker = os.environ.get("PYTEST_XDIST_WORKER", "")
if _worker:  # one of several, with the environment of the process that started them; they share the cores
    _share = (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, _share)))
    _first = int(os.environ["ROS_DOMAIN_ID"])
    _domains = environment.DOMAIN_IDS
    environment.isolate(_domains[(_first + int(_worker.removeprefix("gw"))) % len(_domains)])
else:
    environment.isolate()
    _cache = tempfile.TemporaryDirectory(prefix="ros2_derain_cache_")
    os.environ["ROS2_DERAIN_CACHE"] = _cache.name


@pytest.fixture(autouse=True)
def one_domain(monkeypatch):
    """Commands that a test runs in this process take a domain of their own; the next test has ours again."""
    monkeypatch.setenv("ROS_DOMAIN_ID", os.environ["ROS_DOMAIN_ID"])


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


@pytest.fixture(scope="session")
def wet_model(tmp_path_factory) -> str:
    """Path of a tiny model whose gauge reads 0 mm/h and takes what is white for water on the glass."""
    import tiny_model

    gauge = tiny_model.sees_white_as_water()
    return str(tiny_model.write(tmp_path_factory.mktemp("models") / "wet", 0.0, gauge=gauge))


@pytest.fixture(scope="session")
def small_clip(tmp_path_factory) -> Path:
    """Twelve images of 160x96, each a little brighter than the one before."""
    folder = tmp_path_factory.mktemp("clips") / "small"
    folder.mkdir()
    (folder / "clip.yaml").write_text("title: Test & pattern\nfps: 25\nsource: made here\n")
    base = np.random.default_rng(0).integers(0, 180, (12, 20, 3), np.uint8)
    base = cv2.resize(base, (160, 96), interpolation=cv2.INTER_CUBIC)
    for index in range(12):
        cv2.imwrite(str(folder / f"{index:06d}.png"), base + np.uint8(5 * index))
    return folder


@pytest.fixture(scope="session")
def ros():
    """rclpy in this process."""
    import rclpy

    rclpy.init()
    yield
    rclpy.try_shutdown()


@pytest.fixture
def make_rig(ros, rainy_model):
    """Makes rigs, each in a namespace of its own; see :class:`rig.Rig`."""
    import rig

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
    import rig

    def make(create=rig.composed, **parameters):
        made = make_rig(create, **parameters)
        made.activate()
        return made

    return make


@pytest.fixture
def planned(make_rig):
    """Makes calibrated planners alone, each with a client; see :class:`planner_rig.Planned`."""
    import planner_rig
    import rig

    def make(listen_to=planner_rig.outputs.IN_METRES, calibrated=True, **parameters):
        alone = make_rig(rig.planner_alone, **{"camera_height": planner_rig.CAMERA_M, **parameters})
        found = planner_rig.Planned(alone, listen_to)
        if calibrated:
            found.calibrate()
        return found

    return make
