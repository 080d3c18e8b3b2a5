"""Cameras: rays and pixels against the models' own equations; sizes, binning and regions of interest."""

import numpy as np
import pytest
from made_cameras import MODELS, K, calibration

from ros2_derain.planner import Calibration, CalibrationError


def equations(model, d, points):
    """Pixels of points by the published equations, written out."""
    x, y = points[:, 0] / points[:, 2], points[:, 1] / points[:, 2]
    if model == "equidistant":
        r = np.hypot(x, y)
        a = np.arctan(r)
        scale = a * (1 + d[0] * a**2 + d[1] * a**4 + d[2] * a**6 + d[3] * a**8) / r
        x, y = x * scale, y * scale
    else:
        k1, k2, p1, p2, k3, k4, k5, k6 = (*d, 0, 0, 0)[:8]
        r2 = x * x + y * y
        radial = (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3) / (1 + k4 * r2 + k5 * r2**2 + k6 * r2**3)
        bent_x = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
        y = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
        x = bent_x
    return np.column_stack((K[0] * x + K[2], K[4] * y + K[5]))


@pytest.fixture(params=MODELS)
def model(request):
    return request.param


def test_points_are_seen_where_the_equations_say(model):
    points = np.random.default_rng(0).uniform((-4, -2, 8), (4, 2, 60), (500, 3))
    pixels = calibration(model).camera(1280, 720).project(points)
    np.testing.assert_allclose(pixels, equations(model, MODELS[model], points), atol=1e-6)


def test_rays_lead_back_to_their_pixels(model):
    pixels = np.random.default_rng(1).uniform((0, 0), (1279, 719), (800, 2))
    rays = calibration(model).camera(1280, 720).rays(pixels)
    assert np.isfinite(rays).all()
    np.testing.assert_allclose(equations(model, MODELS[model], rays), pixels, atol=0.01)


def test_without_distortion_it_is_a_pinhole():
    camera = calibration(d=()).camera(1280, 720)
    np.testing.assert_allclose(
        camera.rays(np.array([[640.0, 360.0], [1640.0, 360.0]])), [[0, 0, 1], [1, 0, 1]]
    )
    np.testing.assert_allclose(camera.project(np.array([[1.0, 0, 10]])), [[740, 360]])


def test_what_lies_behind_or_beside_the_image_is_not_seen(model):
    points = np.array(
        [[0, 0, -5], [0, 0, 0], [50, 0, 5], [0, 90, 5], [np.nan, 0, 5], [np.inf, 0, 5], [0, 0, 5.0]]
    )
    pixels = calibration(model).camera(1280, 720).project(points)
    assert np.isnan(pixels[:-1]).all() and np.isfinite(pixels[-1]).all()


def test_distortion_does_not_fold_back_into_the_image():
    camera = calibration(d=(-0.3, 0.0, 0.0, 0.0, 0.0)).camera(1280, 720)
    aside = np.array([[1.78, 0.0, 1.0]])  # the polynomial alone gives a pixel near the centre
    assert abs(equations("plumb_bob", camera.d, aside)[0, 0] - 640) < 640
    assert np.isnan(camera.project(aside)).all()


@pytest.mark.parametrize(("binning", "roi"), [((2, 2), (0, 0, 0, 0)), ((0, 0), (200, 100, 640, 400)),
                                              ((2, 4), (200, 100, 640, 400))])  # fmt: skip
def test_binning_and_region_of_interest_are_respected(model, binning, roi):
    full = calibration(model).camera(1280, 720)
    part = calibration(model, binning=binning, roi=roi)
    camera = part.camera(*part.image_size)
    points = np.random.default_rng(2).uniform((-1, -1, 20), (1, 1, 60), (50, 3))
    bx, by = max(1, binning[0]), max(1, binning[1])
    expected = (full.project(points) - roi[:2]) / (bx, by)
    np.testing.assert_allclose(camera.project(points), expected, atol=1e-6)


def test_a_pure_scaling_is_followed():
    small, full = (calibration().camera(w, h) for w, h in ((640, 360), (1280, 720)))
    points = np.random.default_rng(3).uniform((-4, -2, 8), (4, 2, 60), (100, 3))
    np.testing.assert_allclose(small.project(points), (full.project(points) + 0.5) / 2 - 0.5, atol=1e-6)
    assert calibration().scale_to(640, 360) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("changed", "size", "text"),
    [
        ({}, (1280, 700), "no pure scaling"),
        ({"k": (0.0,) * 9}, (1280, 720), "no focal length"),
        ({"k": (float("nan"),) * 9}, (1280, 720), "no focal length"),
        ({"model": "mystery", "d": ()}, (1280, 720), "distortion model 'mystery'"),
        ({"d": (0.1,) * 7}, (1280, 720), "7 coefficients of plumb_bob: it takes 0 or 4 or 5"),
        ({"width": 0}, (1280, 720), "calibrate the camera"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(changed, size, text):
    with pytest.raises(CalibrationError, match=text):
        Calibration(**{"width": 1280, "height": 720, "model": "", "k": K, "d": (), **changed}).camera(*size)
