"""planner_node over DDS: points and boxes in metres, matched by exact stamps; what it refuses and says."""

import math

import numpy as np
import pytest
import rig
from geometry_msgs.msg import TransformStamped
from planner_rig import CAMERA_M, CAR, FOCAL, HEIGHT, ROAD, SKY, WIDTH, box_on_road, road, to_cloud
from sensor_msgs.msg import CameraInfo
from visualization_msgs.msg import Marker

from ros2_derain import messages
from ros2_derain.engine import Detection
from ros2_derain.messages import images, point_clouds, topics
from ros2_derain.nodes import frames, outputs


def test_the_ground_is_aligned_with_the_label_map_and_true(planned):
    made = planned()
    header = made.frame()
    cloud = made.result(outputs.POINTS, header)
    assert cloud.header == header
    assert (cloud.height, cloud.width, cloud.is_dense) == (HEIGHT // 4, WIDTH // 4, False)
    points = point_clouds.to_points(cloud)
    np.testing.assert_array_equal(points["label"], road()[::4, ::4])
    assert (points["confidence"] == 200).all() and (points["trust"] == 255).all()
    assert (point_clouds.unpacked(points["rgb"]) == 90).all()
    rows = np.arange(0, HEIGHT, 4)
    with np.errstate(divide="ignore"):
        distance = FOCAL * CAMERA_M / (rows - (HEIGHT - 1) / 2)
    on_road = (road()[::4, 0] == ROAD) & (distance < 59)
    for row in range(len(rows)):
        if on_road[row]:
            np.testing.assert_allclose(points["z"][row, 80], distance[row], rtol=1e-4)
            np.testing.assert_allclose(points["y"][row, 80], CAMERA_M, rtol=1e-4)
        elif distance[row] > 61 or road()[4 * row, 0] == SKY:
            assert np.isnan(points["z"][row]).all()


@pytest.mark.parametrize("distance", [10.0, 30.0])
def test_boxes_stand_where_their_feet_are(planned, distance):
    made = planned()
    header = made.frame(boxes=[box_on_road(distance)])
    (found,) = made.result(outputs.DETECTIONS_3D, header).detections
    assert (found.header, found.id) == (header, "7")
    assert found.results[0].hypothesis.class_id == "car" and found.results[0].hypothesis.score == 0.9
    assert found.results[0].pose.pose.position.z == pytest.approx(distance, rel=0.01)
    assert found.results[0].pose.pose.position.y == pytest.approx(CAMERA_M, rel=0.01)
    assert found.bbox.center.position.z == pytest.approx(distance + 4.5 / 2, rel=0.01)
    assert found.bbox.center.position.y == pytest.approx(CAMERA_M - 0.75, abs=0.02)
    assert (found.bbox.size.x, found.bbox.size.y, found.bbox.size.z) == (4.5, 1.8, 1.5)
    covariance = np.array(found.results[0].pose.covariance).reshape(6, 6)
    assert (np.linalg.eigvalsh(covariance) > 0).all()
    assert covariance[2, 2] > covariance[0, 0]  # depth is what is uncertain


def test_in_the_vehicle_s_frame_everything_is_on_the_ground(planned):
    made = planned(output_frame="base", camera_x=1.2, camera_y=0.1)
    header = made.frame(boxes=[box_on_road(20.0)])
    detections = made.result(outputs.DETECTIONS_3D, header)
    assert detections.header.frame_id == "base_link" and detections.header.stamp == header.stamp
    place = detections.detections[0].results[0].pose.pose.position
    np.testing.assert_allclose((place.x, place.y, place.z), (21.2, 0.1, 0), atol=0.1)
    points = point_clouds.to_points(made.result(outputs.POINTS, header))
    known = np.isfinite(points["z"])
    assert known.any() and np.abs(points["z"][known]).max() < 1e-4


def test_uncertainty_grows_with_low_trust_and_water_on_the_glass(planned):
    made = planned()

    def depth_variance(trust=255, hidden=None):
        header = made.made.next_header()
        if hidden is not None:
            plane = np.full((HEIGHT, WIDTH), hidden, np.uint8)
            made.send[outputs.OBSTRUCTION].publish(images.from_mono(plane, header))
            stamp = messages.stamp_ns(header)
            assert made.client.until(lambda: stamp in made.node._stores[outputs.OBSTRUCTION]._values)
        made.frame(boxes=[box_on_road(20.0)], trust=trust, header=header)
        (found,) = made.result(outputs.DETECTIONS_3D, header).detections
        points = point_clouds.to_points(made.result(outputs.POINTS, header))
        assert (points["trust"] == min(trust, 255 - (hidden or 0))).all()
        return found.results[0].pose.covariance[14]

    assert depth_variance() < depth_variance(trust=100) < depth_variance(hidden=250)


def test_markers_show_the_same_boxes(planned):
    made = planned()
    made.result(outputs.DETECTIONS_3D, made.frame(boxes=[box_on_road(20.0), box_on_road(40.0)]))
    header = made.frame(boxes=[box_on_road(20.0, id_="7")], trust=0)
    (found,) = made.result(outputs.DETECTIONS_3D, header).detections
    assert made.client.until(lambda: made.client.count(outputs.MARKERS) == 2)
    first, (clear, cube, text) = (message.markers for message in made.client.got[outputs.MARKERS.name])
    assert len(first) == 5 and clear.action == Marker.DELETEALL
    assert clear.header == cube.header == text.header == header
    assert (cube.type, cube.pose, cube.scale) == (Marker.CUBE, found.bbox.center, found.bbox.size)
    assert text.text == "car #7 20 m" and text.pose.position.z == pytest.approx(20.0 + 4.5 / 2, rel=0.01)
    assert text.pose.position.y < CAMERA_M - 1.5  # above the box
    assert cube.color != first[1].color  # not trusted


def test_what_has_no_place_is_dropped_and_counted(planned):
    made = planned()
    above = Detection("car", 0.9, 100, 20, 160, 60)
    header = made.frame(boxes=[above, box_on_road(20.0)])
    assert len(made.result(outputs.DETECTIONS_3D, header).detections) == 1
    key = "detections_dropped.above_horizon"
    assert made.client.until(lambda: made.client.counted("planner_node", key))


def test_a_lidar_s_cloud_is_painted(planned):
    made = planned(lidar_z=2.0)
    labels = road()
    labels[100:300, 280:360] = CAR
    car = [(15.0, y, z) for y in np.linspace(-0.3, 0.3, 9) for z in np.linspace(-1.2, -0.8, 5)]
    ground = [(12.0, y, -2.0) for y in np.linspace(4, 6, 9)]
    behind = [(-10.0, 0.0, 0.0), (math.nan, 0.0, 0.0)]
    header = made.frame(labels, boxes=[box_on_road(15.0)], cloud=[*car, *ground, *behind])
    cloud = made.result(outputs.POINTS, header)
    assert cloud.header == header and (cloud.height, cloud.width) == (1, 56) and not cloud.is_dense
    points = point_clouds.to_points(cloud)
    assert (points["label"][:45] == CAR).all() and (points["label"][45:54] == ROAD).all()
    assert (points["label"][54:] == 255).all() and not points["confidence"][54:].any()
    np.testing.assert_allclose(points["z"][:45], 15.0, atol=1e-4)  # the camera's frame: z is forward
    (found,) = made.result(outputs.DETECTIONS_3D, header).detections
    assert found.results[0].pose.pose.position.z == pytest.approx(15.0, abs=0.1)


@pytest.mark.parametrize("points", [np.empty((0, 3)), np.full((50, 3), np.nan)], ids=["empty", "nan"])
def test_strange_clouds_are_no_error(planned, points):
    made = planned()
    header = made.frame(cloud=points)
    cloud = made.result(outputs.POINTS, header)
    assert cloud.width == len(points)
    assert not len(points) or (point_clouds.to_points(cloud)["label"] == 255).all()
    if not len(points):
        assert made.client.until(lambda: "cloud is empty" in made.message())


def test_a_cloud_of_a_million_points_is_painted(planned):
    made = planned(listen_to=(outputs.POINTS,))
    points = np.random.default_rng(0).uniform((-60, -60, -2), (60, 60, 2), (1_000_000, 3))
    header = made.frame(cloud=points)
    assert made.result(outputs.POINTS, header).width == 1_000_000


def test_a_malformed_cloud_is_named_and_boxes_go_on(planned):
    made = planned()
    header = made.made.next_header()
    cloud = to_cloud(np.zeros((9, 3)), header)
    cloud.data = cloud.data[:10]
    made.send[topics.POINTS_IN].publish(cloud)
    assert made.client.until(lambda: made.node._nearest_cloud(messages.stamp_ns(header)) is not None)
    made.frame(boxes=[box_on_road(20.0)], header=header)
    assert len(made.result(outputs.DETECTIONS_3D, header).detections) == 1
    assert made.client.until(lambda: "correct its sizes" in made.message())
    assert messages.stamp_ns(header) not in made.client.stamps(outputs.POINTS)


def test_without_a_calibration_nothing_is_published_and_it_is_said(planned):
    made = planned(calibrated=False)
    made.frame(boxes=[box_on_road(20.0)])
    assert made.client.until(lambda: "no camera_info" in made.message())
    assert made.client.until(lambda: made.client.counted("planner_node", "dropped.calibration"))
    assert made.client.diagnosed("planner_node").level == messages.WARN
    assert not any(made.client.count(topic) for topic in outputs.IN_METRES)
    made.calibrate()
    made.result(outputs.POINTS, made.frame())


def test_a_calibration_of_another_size_is_scaled_and_said_or_refused(planned):
    made = planned(calibrated=False)
    made.calibrate(WIDTH, HEIGHT + 50)
    made.frame()
    assert made.client.until(lambda: "no pure scaling" in made.message())
    assert not made.client.count(outputs.POINTS)
    k = [2 * FOCAL, 0.0, WIDTH - 0.5, 0.0, 2 * FOCAL, HEIGHT - 0.5, 0.0, 0.0, 1.0]
    made.client.info.publish(CameraInfo(width=2 * WIDTH, height=2 * HEIGHT, k=k))
    assert made.client.until(lambda: len(made.node._calibrations) == 2)
    header = made.frame(boxes=[box_on_road(20.0)])
    (found,) = made.result(outputs.DETECTIONS_3D, header).detections
    assert found.results[0].pose.pose.position.z == pytest.approx(20.0, rel=0.01)
    assert made.client.until(
        lambda: "scaled by 0.5" in made.client.values("planner_node").get("calibration", "")
    )


def test_a_height_that_is_not_known_is_assumed_and_said(planned):
    made = planned(camera_height=0.0)
    made.result(outputs.POINTS, made.frame())
    assert made.client.until(lambda: "the camera's pose is assumed" in made.message())
    assert made.client.diagnosed("planner_node").level == messages.WARN
    assert made.made.set_parameter(made.node, "camera_height", 1.5).successful
    made.result(outputs.POINTS, made.frame())
    assert made.client.until(lambda: "assumed" not in made.message())


def transform(child, translation, quaternion, stamp_ns=0):
    message = TransformStamped(header=messages.to_header(stamp_ns, "base_link"), child_frame_id=child)
    moved, turned = message.transform.translation, message.transform.rotation
    moved.x, moved.y, moved.z = translation
    turned.x, turned.y, turned.z, turned.w = quaternion
    return frames.TFMessage(transforms=[message])


OPTICAL = (-0.5, 0.5, -0.5, 0.5)
"""From x forward, z up to x right, z forward."""


@pytest.mark.skipif(frames.TFMessage is None, reason="tf2_msgs is not installed")
def test_frames_come_from_tf_where_it_has_them(planned):
    frame_id = f"camera_{np.random.default_rng().integers(1 << 40)}"  # /tf_static is everyone's
    made = planned(camera_height=9.0)
    sender = made.client.node.create_publisher(frames.TFMessage, "/tf_static", topics.latched())
    sender.publish(transform(frame_id, (2.0, 0.0, CAMERA_M), OPTICAL))
    assert made.client.until(lambda: made.node._frames._tree.connects("base_link", frame_id))
    header = messages.to_header(messages.stamp_ns(made.made.next_header()), frame_id)
    made.frame(boxes=[box_on_road(20.0)], header=header)
    (found,) = made.result(outputs.DETECTIONS_3D, header).detections
    assert found.results[0].pose.pose.position.z == pytest.approx(20.0, rel=0.01)
    assert made.client.until(
        lambda: made.client.values("planner_node").get("camera_frame") == f"TF ({frame_id} in base_link)"
    )
    made.client.node.destroy_publisher(sender)


@pytest.mark.skipif(frames.TFMessage is None, reason="tf2_msgs is not installed")
def test_an_old_transform_is_refused_and_said(planned):
    frame_id = f"camera_{np.random.default_rng().integers(1 << 40)}"
    made = planned()
    sender = made.client.node.create_publisher(frames.TFMessage, "/tf", topics.recent())
    assert made.client.until(sender.get_subscription_count)
    header = messages.to_header(messages.stamp_ns(made.made.next_header()), frame_id)
    old = messages.stamp_ns(header) - 3 * 10**9
    sender.publish(transform(frame_id, (2.0, 0.0, CAMERA_M), OPTICAL, old))
    assert made.client.until(lambda: made.node._frames._tree.connects("base_link", frame_id))
    made.frame(header=header)
    assert made.client.until(lambda: "3.0 s older than the image" in made.message())
    assert not made.client.count(outputs.POINTS)
    made.client.node.destroy_publisher(sender)


def test_an_input_that_does_not_come_is_waited_for_only_so_long(planned):
    made = planned(match_timeout_ms=50.0)
    header = made.frame(leave_out=(outputs.CONFIDENCE, outputs.DETECTIONS))
    points = point_clouds.to_points(made.result(outputs.POINTS, header))
    assert not points["confidence"].any()
    assert messages.stamp_ns(header) not in made.client.stamps(outputs.DETECTIONS_3D)
    counted = lambda: made.client.counted("planner_node", "missing.detections")  # noqa: E731
    assert made.client.until(counted)


def test_a_horizon_inside_the_image_is_no_error(planned):
    made = planned(camera_pitch_deg=-10.0, camera_roll_deg=8.0)
    cloud = made.result(outputs.POINTS, made.frame(np.full((HEIGHT, WIDTH), ROAD, np.uint8)))
    known = np.isfinite(point_clouds.to_points(cloud)["z"])
    assert 0 < known.mean() < 1 and not known[0].any()


def test_nothing_is_computed_without_a_subscriber(planned):
    made = planned(listen_to=())
    made.frame()
    assert made.made.set_parameter(made.node, "stride", 2).successful  # what was sent before has come
    assert made.node.statistics.snapshot().received == 0


def test_the_composed_pipeline_hands_its_scenes_over(active):
    made = active(rig.with_planner, camera_height=CAMERA_M, score_threshold=0.0)
    for topic in (outputs.POINTS, outputs.DETECTIONS_3D):
        made.client.listen(topic)
    made.client.info.publish(CameraInfo(width=96, height=64, k=[80.0, 0, 48, 0, 80.0, 20, 0, 0, 1.0]))
    planner = made.nodes[0]
    assert made.client.until(lambda: len(planner._calibrations) and planner._class_names)
    assert made.client.until(
        lambda: all(map(planner.has_subscriber, (outputs.POINTS, outputs.DETECTIONS_3D)))
    )
    stamp = made.pass_through(out=(*rig.PER_FRAME, outputs.POINTS, outputs.DETECTIONS_3D))
    labels = next(m for m in made.client.got[outputs.LABEL_MAP.name] if messages.stamp_ns(m.header) == stamp)
    points = point_clouds.to_points(made.client.last(outputs.POINTS))
    np.testing.assert_array_equal(points["label"], images.to_mono(labels)[::4, ::4])
    ids = {found.id for found in made.client.last(outputs.DETECTIONS).detections}
    assert {found.id for found in made.client.last(outputs.DETECTIONS_3D).detections} <= ids
    assert made.change(made.derain, "deactivate")
    assert made.change(planner, "deactivate") and made.change(planner, "cleanup")


def test_it_restarts_and_ends_like_any_node(planned):
    made = planned()
    made.result(outputs.POINTS, made.frame())
    for transition in ("deactivate", "cleanup", "configure", "activate"):
        assert made.made.change(made.node, transition)
