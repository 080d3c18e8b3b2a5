"""Painted clouds against a synthetic scene: labels of visible points, hidden points, strange clouds."""

import cv2
import numpy as np
from made_cameras import MODELS, calibration

from ros2_derain.planner import paint
from ros2_derain.planner.lidar import UNSEEN, View

ROAD, CAR, WALL = 1, 2, 3
NEAR, FAR = 12.0, 40.0


def scene(model="plumb_bob"):
    """A car before a wall on a road, ray by ray: camera, labels, and the depth of every pixel."""
    camera = calibration(model).camera(1280, 720)
    rows, columns = np.mgrid[0:720, 0:1280]
    rays = camera.rays(np.column_stack((columns.ravel(), rows.ravel())).astype(float)).reshape(720, 1280, 3)
    with np.errstate(divide="ignore"):
        road = np.where(rays[..., 1] > 0, 1.5 / rays[..., 1], np.inf)
    depth = np.minimum(road, FAR)
    labels = np.where(road < FAR, ROAD, WALL).astype(np.uint8)
    at = rays * NEAR
    car = (np.abs(at[..., 0]) < 0.9) & (at[..., 1] > 0) & (at[..., 1] < 1.5)
    labels[car], depth[car] = CAR, NEAR
    return camera, labels, depth


def cloud(seed=0, points=80_000):
    """Points of the same scene as a lidar above the camera gets them: x right, y down, z forward."""
    random = np.random.default_rng(seed)
    origin = np.array([0.5, -0.9, -0.5])
    azimuth = random.uniform(-np.pi, np.pi, points)
    elevation = np.deg2rad(random.choice(np.linspace(-22, 8, 64), points))
    rays = np.column_stack(
        (np.sin(azimuth) * np.cos(elevation), -np.sin(elevation), np.cos(azimuth) * np.cos(elevation))
    )
    with np.errstate(divide="ignore"):
        road = np.where(rays[:, 1] > 0, (1.5 - origin[1]) / rays[:, 1], np.inf)
        wall = np.where(rays[:, 2] > 0, (FAR - origin[2]) / rays[:, 2], np.inf)
        to_car = np.where(rays[:, 2] > 0, (NEAR - origin[2]) / rays[:, 2], np.inf)
    at = origin + rays * np.where(np.isfinite(to_car), to_car, 0)[:, None]
    hits_car = np.isfinite(to_car) & (np.abs(at[:, 0]) < 0.9) & (at[:, 1] > 0) & (at[:, 1] < 1.5)
    along = np.minimum(road, wall)
    along[hits_car] = to_car[hits_car]
    kind = np.where(hits_car, CAR, np.where(road < wall, ROAD, WALL))
    kept = along < 80
    return (origin + rays * along[:, None])[kept].astype(np.float32), kind[kept].astype(np.uint8)


def view_of(labels):
    image = np.repeat(labels[..., None] * 20, 3, axis=2)
    return View(labels, np.full_like(labels, 200), np.full_like(labels, 250), image)


def inside_areas(labels, columns, rows):
    """Which pixels are more than two pixels from the outline of their label's area."""
    inside = cv2.erode(labels, np.ones((5, 5))) == cv2.dilate(labels, np.ones((5, 5)))
    return inside[rows, columns]


def test_every_visible_point_has_its_own_label():
    for model in MODELS:
        camera, labels, _ = scene(model)
        points, truth = cloud()
        painted = paint(points, camera, view_of(labels), 1.5)
        columns, rows = np.rint(painted.pixels).astype(int).T
        np.testing.assert_array_equal(painted.labels[painted.visible], labels[rows, columns])
        certain = painted.visible[inside_areas(labels, columns, rows)]
        assert len(certain) > 5000
        assert (painted.labels[certain] == truth[certain]).all()
        assert (painted.confidence[certain] == 200).all() and (painted.trust[certain] == 250).all()
        np.testing.assert_array_equal(painted.colours[certain, 0], 20 * truth[certain])


def test_hidden_points_are_marked_and_few_visible_ones_are():
    camera, labels, depth = scene()
    points, _ = cloud()
    painted = paint(points, camera, view_of(labels), 1.5)
    seen, pixels = camera.seen(points)
    columns, rows = np.rint(pixels).astype(int).T
    hidden = points[seen, 2] > 1.5 * depth[rows, columns]
    visible = np.zeros(len(points), bool)
    visible[painted.visible] = True
    assert hidden.sum() > 100
    assert visible[seen[hidden]].mean() < 0.02
    assert visible[seen[~hidden]].mean() > 0.9
    assert (painted.labels[~visible] == UNSEEN).all()
    assert not painted.confidence[~visible].any() and not painted.trust[~visible].any()


def test_ground_does_not_hide_the_ground_behind_it():
    camera, labels, _ = scene()
    forward, aside = (grid.ravel() for grid in np.meshgrid(np.linspace(6, 39, 300), np.linspace(-1, 1, 40)))
    points = np.column_stack((aside, np.full_like(aside, 1.5), forward))
    road = view_of(np.full_like(labels, ROAD))
    painted = paint(points, camera, road, 1.5)
    assert len(painted.visible) == len(camera.seen(points)[0]) > 1000


def test_empty_clouds_and_clouds_of_nan_are_painted():
    camera, labels, _ = scene()
    empty = paint(np.empty((0, 3), np.float32), camera, view_of(labels), 1.5)
    assert len(empty.labels) == 0
    nothing = paint(np.full((100, 3), np.nan, np.float32), camera, view_of(labels), 1.5)
    assert not len(nothing.visible) and (nothing.labels == UNSEEN).all()
