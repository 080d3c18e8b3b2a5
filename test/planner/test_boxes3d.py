"""Boxes in metres: places against closed form, honest covariances, and what has no place."""

import math

import numpy as np
import pytest
from made_cameras import calibration, mounted

from ros2_derain.planner import BoxSigmas, Lifter
from ros2_derain.planner.boxes3d import ABOVE_HORIZON, CUT_BY_BORDER, FOOT_HIDDEN, LOW_TRUST, OUT_OF_RANGE
from ros2_derain.planner.lidar import View, paint

ROAD, CAR = 1, 2


def lifter(pitch_deg=0.0, max_range=100.0, sigmas=None, **changed):
    camera = calibration(d=(), **changed).camera(1280, 720)
    return Lifter(camera, mounted(1.5, pitch_deg), 0.0, max_range, sigmas or BoxSigmas())


def box_at(forward, left, height=1.5, half=0.9, pitch_deg=0.0):
    """Pixels of an upright plate on the ground, and the ray of its foot."""
    corners = np.array([[forward, left + half, height], [forward, left - half, 0.0]])
    camera = calibration(d=()).camera(1280, 720)
    (x0, y0), (x1, y1) = camera.project(mounted(1.5, pitch_deg).inverse().apply(corners))
    return np.array([x0, y0, x1, y1 + 0.5])


def view(labels=ROAD, trust=255):
    plane = np.full((720, 1280), labels, np.uint8)
    return View(plane, plane, np.full_like(plane, trust), np.zeros((720, 1280, 3), np.uint8))


def lift_one(box, name="car", seen=None, **changed):
    found, dropped = lifter(**changed).lift(box[None], [name], seen or view(), [ROAD])
    assert not dropped
    return found[0]


@pytest.mark.parametrize("forward", [8, 15, 30, 60])
def test_a_foot_is_where_the_object_stands(forward):
    found = lift_one(box_at(forward, 2.0))
    assert np.linalg.norm(found.foot - (forward, 2.0, 0.0)) < 0.01 * forward
    assert found.distance == pytest.approx(math.hypot(forward, 2.0), rel=0.01)
    assert not found.by_lidar and not found.marks


def test_a_degree_of_pitch_costs_what_the_covariance_says():
    """A camera that looks up a degree more than is known sees feet nearer than they are."""
    for forward in (10, 20, 40):
        box = box_at(forward, 0.0, pitch_deg=-1.0)
        sigmas = BoxSigmas(pitch=math.radians(1.0), height=0.0, foot_px=0.0)
        found = lift_one(box, sigmas=sigmas)
        error = forward - found.foot[0]
        assert error > 0
        assert math.sqrt(found.covariance[0, 0]) == pytest.approx(error, rel=0.5)


def test_uncertainty_grows_with_distance_pitch_error_and_low_trust():
    def along(forward=20, trust=255, pitch=0.5):
        seen = view(trust=trust)
        found = lift_one(box_at(forward, 0), seen=seen, sigmas=BoxSigmas(pitch=math.radians(pitch)))
        return found.covariance[0, 0]

    assert along(10) < along(20) < along(40)
    assert along(pitch=0.2) < along(pitch=1.0)
    assert along(trust=255) < along(trust=120) < along(trust=0)


def test_covariances_are_those_of_a_direction():
    aside = lift_one(box_at(20, 8.0)).covariance
    assert (np.linalg.eigvalsh(aside) > 0).all() and aside[0, 1] > 0
    np.testing.assert_allclose(aside, aside.T)


def test_what_has_no_place_is_dropped_with_its_cause():
    boxes = np.array([[600, 100, 660, 200], [600, 330, 660, 363], [600, 330, 660, 500]], float)
    found, dropped = lifter().lift(boxes, ["car"] * 3, view(), [ROAD])
    assert [item.index for item in found] == [2]
    assert dropped == {0: ABOVE_HORIZON, 1: OUT_OF_RANGE}


def test_what_makes_a_place_doubtful_is_marked():
    free = lift_one(box_at(20, 0))
    hidden = lift_one(box_at(20, 0), seen=view(labels=CAR))
    untrusted = lift_one(box_at(20, 0), seen=view(trust=40))
    cut = lift_one(np.array([500.0, 300, 900, 720]))
    assert (free.marks, hidden.marks, untrusted.marks, cut.marks) == (
        (), (FOOT_HIDDEN,), (LOW_TRUST,), (CUT_BY_BORDER,)
    )  # fmt: skip
    assert hidden.covariance[0, 0] > 4 * free.covariance[0, 0]
    assert untrusted.covariance[0, 0] > 4 * free.covariance[0, 0]
    assert math.sqrt(cut.covariance[0, 0]) > 0.9 * cut.distance


def test_lidar_points_in_a_box_give_its_place():
    """The foot is hidden, and would give 12 m; the points of the car's rear say 20 m."""
    random = np.random.default_rng(0)
    rear = np.column_stack(
        (random.normal(20, 0.03, 80), random.uniform(-0.8, 0.8, 80), random.uniform(0.3, 1.4, 80))
    )
    behind = np.column_stack((np.full(50, 45.0), random.uniform(-2, 2, 50), random.uniform(0.3, 3, 50)))
    points = np.vstack((rear, behind))
    camera = calibration(d=()).camera(1280, 720)
    painted = paint(mounted().inverse().apply(points), camera, view(), 1.5)
    box = box_at(20, 0.0)
    box[3] = box_at(12, 0.0)[3]
    found, _ = lifter().lift(box[None], ["car"], view(), [ROAD], (points, painted))
    assert found[0].by_lidar
    assert abs(found[0].foot[0] - 20) < 0.2 and abs(found[0].foot[1]) < 0.3 and found[0].foot[2] == 0
    assert found[0].covariance[0, 0] < lift_one(box_at(20, 0)).covariance[0, 0]
    alone, _ = lifter().lift(
        box[None], ["car"], view(), [ROAD], (points[:2], paint(points[:2], camera, view(), 1.5))
    )
    assert not alone[0].by_lidar


def test_sizes_are_those_of_the_class():
    assert lift_one(box_at(20, 0), "Pedestrian").size.height == 1.7
    assert lift_one(box_at(20, 0), "car").size.length == 4.5
    assert lift_one(box_at(20, 0), "robot").size.length == 1.0


def test_no_boxes_are_no_error():
    assert lifter().lift(np.empty((0, 4)), []) == ([], {})
