"""Ground points against closed form: distances, horizon, range, pixels of the label map."""

import math

import numpy as np
import pytest
from made_cameras import MODELS, calibration, mounted

from ros2_derain.planner import GroundGrid, on_ground
from ros2_derain.planner.ground import meet_ground


def test_a_level_camera_sees_the_closed_form():
    camera = calibration(d=()).camera(1280, 720)
    points = GroundGrid(camera, 1).points(mounted(), 0.0, 1000.0)
    for row in (361, 410, 500, 719):
        distance = 1010.0 * 1.5 / (row - 360.0)
        if distance <= 1000:
            np.testing.assert_allclose(points[row, 640], [0, 1.5, distance], rtol=1e-6)
    assert np.isnan(points[:361]).all()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("pitch", "roll"), [(0, 0), (5, 0), (-2, 3), (8, -4)])
def test_points_at_thirty_metres_are_within_one_percent(model, pitch, roll):
    """Known points on the ground are projected, and their pixels taken back to the ground."""
    camera, to_base = calibration(model).camera(1280, 720), mounted(1.4, pitch, roll, x=1.2, y=0.1)
    x, y = (grid.ravel() for grid in np.meshgrid(np.linspace(25, 35, 11), np.linspace(-5, 5, 11)))
    known = np.column_stack((x, y, np.zeros_like(x)))
    pixels = camera.project(to_base.inverse().apply(known))
    seen = np.isfinite(pixels[:, 0])
    assert seen.any()
    found = to_base.apply(meet_ground(camera.rays(pixels[seen]), to_base, 0.0, 100.0))
    error = np.linalg.norm(found - known[seen], axis=1) / np.linalg.norm(known[seen], axis=1)
    assert error.max() < 0.01


def test_a_grid_is_that_of_every_stride_th_pixel():
    camera = calibration("rational_polynomial").camera(1280, 720)
    full, coarse = (GroundGrid(camera, stride).points(mounted(pitch_deg=3), 0.0, 60.0) for stride in (1, 4))
    assert coarse.shape == (180, 320, 3)
    np.testing.assert_array_equal(coarse, full[::4, ::4])


def test_nothing_lies_beyond_the_range_or_above_the_horizon():
    camera = calibration(d=()).camera(1280, 720)
    points = GroundGrid(camera, 4).points(mounted(pitch_deg=2), 0.0, 40.0)
    ranges = np.hypot(points[..., 0], points[..., 2])
    assert np.nanmax(ranges) <= 40.1 and np.nanmax(ranges) > 35
    horizon = 360 - 1010 * math.tan(math.radians(2))
    assert np.isnan(points[: int(horizon) // 4 + 1]).all()


def test_a_camera_that_looks_up_sees_no_ground():
    camera = calibration(d=()).camera(1280, 720)
    assert np.isnan(GroundGrid(camera, 4).points(mounted(pitch_deg=-40), 0.0, 100.0)).all()


def test_a_camera_below_the_ground_sees_none():
    camera = calibration(d=()).camera(1280, 720)
    assert np.isnan(GroundGrid(camera, 4).points(mounted(height=-1.0), 0.0, 100.0)).all()


def test_ground_is_its_classes_and_the_feet_of_objects():
    sky, road, car = 0, 1, 2
    labels = np.array([[sky, sky, sky], [car, car, sky], [car, road, road], [road, car, road]], np.uint8)
    expected = [[0, 0, 0], [0, 1, 0], [1, 1, 1], [1, 0, 1]]
    np.testing.assert_array_equal(on_ground(labels, [road], [car]), np.array(expected, bool))
    np.testing.assert_array_equal(on_ground(labels, [road]), labels == road)
