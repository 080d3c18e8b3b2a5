"""Point clouds: what is written is read back; strange and impossible ones; agreement with sensor_msgs_py."""

import numpy as np
import pytest
from sensor_msgs.msg import PointCloud2, PointField

from ros2_derain import messages
from ros2_derain.messages import point_clouds
from ros2_derain.messages.point_clouds import POINT, CloudError, packed, to_cloud, to_points, to_xyz, unpacked

HEADER = messages.to_header(5, "camera")
LIBRARY = point_clouds.point_cloud2
"""sensor_msgs_py where it is installed, else None."""


def some(shape, seed=0):
    random = np.random.default_rng(seed)
    points = np.zeros(shape, POINT)
    for name in "xyz":
        points[name] = random.normal(size=shape)
    for name in ("label", "confidence", "trust"):
        points[name] = random.integers(0, 256, shape)
    points["rgb"] = packed(random.integers(0, 256, (*shape, 3), np.uint8))
    return points


@pytest.fixture(params=["own", "sensor_msgs_py"], autouse=True)
def library(request, monkeypatch):
    if request.param == "own":
        monkeypatch.setattr(point_clouds, "point_cloud2", None)
    elif point_clouds.point_cloud2 is None:
        pytest.skip("sensor_msgs_py is not installed")


@pytest.mark.parametrize("shape", [(7,), (4, 6), (0,)])
def test_what_is_written_is_read_back(shape):
    points = some(shape)
    cloud = to_cloud(points, HEADER)
    assert (cloud.header, cloud.point_step, cloud.row_step) == (HEADER, 20, 20 * shape[-1])
    assert (cloud.height, cloud.width) == (shape if len(shape) == 2 else (1, *shape))
    assert [field.name for field in cloud.fields] == ["x", "y", "z", "label", "confidence", "trust", "rgb"]
    found = to_points(cloud)
    assert found.shape == shape
    for name in POINT.names if points.size else ():
        np.testing.assert_array_equal(found[name], points[name])


@pytest.mark.skipif(LIBRARY is None, reason="sensor_msgs_py is not installed")
@pytest.mark.parametrize("shape", [(7,), (4, 6)])
def test_our_own_clouds_are_those_of_sensor_msgs_py(shape, monkeypatch):
    points, made = some(shape), {}
    for name, library in (("own", None), ("theirs", LIBRARY)):
        monkeypatch.setattr(point_clouds, "point_cloud2", library)
        made[name] = to_cloud(points, HEADER)
    assert made["own"] == made["theirs"]
    for name, library in (("own", None), ("theirs", LIBRARY)):
        monkeypatch.setattr(point_clouds, "point_cloud2", library)
        found = to_points(made[name])
        assert found.shape == shape and all((found[field] == points[field]).all() for field in POINT.names)
    np.testing.assert_array_equal(LIBRARY.read_points(made["own"]), points.reshape(-1))


def test_colours_pass_unchanged():
    colours = np.random.default_rng(1).integers(0, 256, (50, 3), np.uint8)
    np.testing.assert_array_equal(unpacked(packed(colours)), colours)


def test_a_cloud_with_missing_points_is_not_dense():
    points = some((5,))
    assert to_cloud(points, HEADER).is_dense
    points["x"][2] = np.nan
    assert not to_cloud(points, HEADER).is_dense


FLOATS = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("intensity", "<f4")])


def lidar(kind=FLOATS):
    cloud = np.zeros(6, kind)
    cloud["x"], cloud["y"], cloud["z"] = np.arange(6), 2.0, -1.0
    return to_cloud(cloud, HEADER)


def test_clouds_of_other_fields_types_and_paddings_are_read():
    expected = np.column_stack((np.arange(6), np.full(6, 2), np.full(6, -1)))
    np.testing.assert_array_equal(to_xyz(lidar()), expected)
    doubles = np.dtype([("x", "<f8"), ("y", "<f8"), ("z", "<f8"), ("ring", "<u2")])
    np.testing.assert_array_equal(to_xyz(lidar(doubles)), expected)
    padded = lidar()
    rows = np.frombuffer(bytes(padded.data), np.uint8).reshape(2, -1)
    padded.height, padded.width, padded.row_step = 2, 3, 3 * 16 + 8
    padded.data = np.pad(rows, ((0, 0), (0, 8))).tobytes()
    np.testing.assert_array_equal(to_xyz(padded), expected)
    swapped = lidar()
    swapped.data = np.frombuffer(bytes(swapped.data), "<f4").astype(">f4").tobytes()
    swapped.is_bigendian = True
    before = bytes(swapped.data)
    np.testing.assert_array_equal(to_xyz(swapped), expected)
    assert bytes(swapped.data) == before


def _without_x(cloud):
    cloud.fields = cloud.fields[1:]


def _cut_off(cloud):
    cloud.data = cloud.data[:20]


def _unknown_type(cloud):
    cloud.fields[0].datatype = 99


def _field_outside(cloud):
    cloud.fields[0].offset = 14


def _twice(cloud):
    cloud.fields.append(PointField(name="x", offset=0, datatype=PointField.FLOAT32, count=1))


@pytest.mark.parametrize("damage", [_without_x, _cut_off, _unknown_type, _field_outside, _twice])
def test_impossible_clouds_are_refused(damage):
    cloud = lidar()
    damage(cloud)
    with pytest.raises(CloudError):
        to_xyz(cloud)


def test_an_empty_message_has_no_usable_fields():
    with pytest.raises(CloudError, match="x, y and z are needed"):
        to_xyz(PointCloud2())
