"""``ros2-derain replay`` of calibrated cameras: points, boxes in metres, errors of distances, top view."""

import numpy as np
import pytest
from made_bags import (
    FIRST_NS,
    STEP_NS,
    STORE,
    TYPES,
    camera_info,
    drive,
    header,
    of,
    read_bag,
    stamp_ns,
    write_bag,
)
from replaying import replay, summary

from ros2_derain.bags.messages import define
from ros2_derain.engine import Detection, Interpreter

FOCAL, HEIGHT_M, DISTANCE = 100.0, 1.5, 10.0
FOOT = 47.5 + FOCAL * HEIGHT_M / DISTANCE
CAR = Detection("car", 0.9, 55, FOOT - 14.5, 73, FOOT + 0.5)


def calibrated(stamp):
    info = camera_info(stamp)
    info.k = np.array([FOCAL, 0, 63.5, 0, FOCAL, 47.5, 0, 0, 1])
    return info


def static_transforms():
    """A camera 1.5 m above the ground, and a lidar in the vehicle's own frame."""
    moved, turned = TYPES["geometry_msgs/msg/Vector3"], TYPES["geometry_msgs/msg/Quaternion"]
    sensors = {
        "cam": (moved(0.0, 0.0, HEIGHT_M), turned(-0.5, 0.5, -0.5, 0.5)),
        "lidar": (moved(0.0, 0.0, 0.0), turned(0.0, 0.0, 0.0, 1.0)),
    }
    listed = [
        TYPES["geometry_msgs/msg/TransformStamped"](
            header=header(0, "base_link"),
            child_frame_id=frame,
            transform=TYPES["geometry_msgs/msg/Transform"](translation=at, rotation=by),
        )
        for frame, (at, by) in sensors.items()
    ]
    return TYPES["tf2_msgs/msg/TFMessage"](transforms=listed)


def cloud(stamp):
    """The rear of a car, half a metre nearer than its foot in the image."""
    y, z = (grid.ravel() for grid in np.meshgrid(np.linspace(-0.5, 0.5, 9), np.linspace(0.4, 1.3, 6)))
    points = np.column_stack((np.full_like(y, DISTANCE - 0.5), y, z)).astype(np.float32)
    field = TYPES["sensor_msgs/msg/PointField"]
    return TYPES["sensor_msgs/msg/PointCloud2"](
        header=header(stamp, "lidar"),
        height=1,
        width=len(points),
        fields=[field(name, 4 * i, 7, 1) for i, name in enumerate("xyz")],
        is_bigendian=False,
        point_step=12,
        row_step=12 * len(points),
        data=np.frombuffer(points.tobytes(), np.uint8),
        is_dense=True,
    )


def truth(stamp):
    """A true car at its place, in the vehicle's frame."""
    define("vision_msgs/msg/Detection3DArray", STORE)
    point, still = TYPES["geometry_msgs/msg/Point"], TYPES["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0)
    box = TYPES["vision_msgs/msg/BoundingBox3D"](
        center=TYPES["geometry_msgs/msg/Pose"](point(DISTANCE + 0.2 + 4.5 / 2, 0.0, 0.7), still),
        size=TYPES["geometry_msgs/msg/Vector3"](4.5, 1.8, 1.5),
    )
    found = TYPES["vision_msgs/msg/Detection3D"](header=header(stamp), results=[], bbox=box, id="")
    return TYPES["vision_msgs/msg/Detection3DArray"](header=header(stamp, "base_link"), detections=[found])


def bag_of(path, *extra):
    """Three calibrated images; before each, what the functions make of its stamp."""
    listed = [("/tf_static", static_transforms())]
    for index, (topic, image) in enumerate(drive(3)):
        stamp = FIRST_NS + index * STEP_NS
        listed += [(name, make(stamp)) for name, make in extra]
        listed += [("/camera_info", calibrated(stamp)), (topic, image)]
    return write_bag(path, listed)


@pytest.fixture(autouse=True)
def one_car(monkeypatch):
    monkeypatch.setattr(Interpreter, "_detect", lambda *_: ((CAR,), ()))


def test_a_calibrated_camera_comes_out_in_metres(tmp_path, dry_model):
    bag = bag_of(tmp_path / "bag")
    assert replay(bag, tmp_path / "out", dry_model) == 0
    written = read_bag(tmp_path / "out/output")
    found = of(written, "/detections_3d")
    assert [stamp_ns(message) for message in found] == [FIRST_NS + i * STEP_NS for i in range(3)]
    (box,) = found[0].detections
    assert box.header.frame_id == "cam" and box.results[0].pose.pose.position.z == pytest.approx(
        DISTANCE, rel=0.01
    )
    assert {message.detections[0].id for message in found} == {"1"}
    points = of(written, "/segmentation/points")
    assert len(points) == 3 and (points[0].height, points[0].width) == (24, 32)
    planner = summary(tmp_path / "out")["planner"]
    assert planner["camera_frame"] == "TF (cam in base_link)" and not planner["pose_assumed"]
    assert planner["frames"] == planner["detections"] == 3
    assert "In metres, from above" in (tmp_path / "out/report.html").read_text()


def test_lidar_and_truth_tell_the_errors(tmp_path, dry_model):
    bag = bag_of(tmp_path / "bag", ("/lidar/points", cloud), ("/truth", truth))
    assert replay(bag, tmp_path / "out", dry_model) == 0
    errors = summary(tmp_path / "out")["planner"]["distance_error"]
    assert errors["lidar"]["boxes"] == errors["truth"]["boxes"] == 3
    assert errors["lidar"]["median"] == pytest.approx(0.5 / 9.5, rel=0.05)
    assert errors["truth"]["median"] == pytest.approx(
        0.7 / (10.2 + 4.5 / 2), rel=0.05
    )  # the lidar's place counts
    (first, *_) = of(read_bag(tmp_path / "out/output"), "/segmentation/points")
    assert (first.height, first.width) == (1, 54)


def test_poses_come_from_a_parameter_file(tmp_path, dry_model, capsys):
    listed = list(drive(2))
    listed[1:1] = [("/camera_info", calibrated(FIRST_NS))]
    bag = write_bag(tmp_path / "bag", listed)
    assert replay(bag, tmp_path / "assumed", dry_model) == 0
    assert summary(tmp_path / "assumed")["planner"]["pose_assumed"]
    assert "assumed pose" in capsys.readouterr().out
    params = tmp_path / "planner.yaml"
    params.write_text("/**/planner_node:\n  ros__parameters:\n    camera_height: 3.0\n")
    assert replay(bag, tmp_path / "told", dry_model, "--params-file", str(params)) == 0
    (box,) = of(read_bag(tmp_path / "told/output"), "/detections_3d")[0].detections
    assert box.results[0].pose.pose.position.z == pytest.approx(2 * DISTANCE, rel=0.01)
    params.write_text("/**/planner_node:\n  ros__parameters:\n    camera_hight: 3.0\n")
    assert replay(bag, tmp_path / "wrong", dry_model, "--params-file", str(params)) == 2
    assert "camera_hight, which planner_node lacks" in capsys.readouterr().err


def test_without_a_calibration_nothing_is_claimed(tmp_path, dry_model):
    assert replay(write_bag(tmp_path / "bag", drive(2)), tmp_path / "out", dry_model) == 0
    written = read_bag(tmp_path / "out/output")
    assert not of(written, "/detections_3d") and not of(written, "/segmentation/points")
    assert summary(tmp_path / "out")["planner"] is None
