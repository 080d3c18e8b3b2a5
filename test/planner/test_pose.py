"""Rigid transforms and their tree."""

import math

import numpy as np
import pytest

from ros2_derain.planner import OPTICAL, Pose, TransformError, TransformTree


def test_angles_turn_as_rep_103_says():
    down = Pose.of_angles(0, 0, 0, pitch=math.radians(90))
    np.testing.assert_allclose(down.apply(np.array([1.0, 0, 0])), [0, 0, -1], atol=1e-12)
    left = Pose.of_angles(0, 0, 0, yaw=math.radians(90))
    np.testing.assert_allclose(left.apply(np.array([1.0, 0, 0])), [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(OPTICAL.apply(np.array([0.0, 0, 1])), [1, 0, 0])
    np.testing.assert_allclose(OPTICAL.apply(np.array([1.0, 0, 0])), [0, -1, 0])


@pytest.mark.parametrize("shape", [(3,), (0, 3), (5, 3), (4, 6, 3), (100_000, 3)])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_points_are_moved_as_the_matrix_says(shape, kind):
    pose = Pose.of_angles(1.0, -2.0, 1.5, 0.1, -0.2, 2.0)
    points = np.random.default_rng(0).normal(size=shape, scale=30).astype(kind)
    moved = pose.apply(points)
    assert moved.dtype == kind and moved.shape == shape
    expected = points @ pose.rotation.T + pose.translation
    np.testing.assert_allclose(moved, expected, atol=1e-4 if kind is np.float32 else 1e-12)


def test_points_that_are_missing_stay_missing():
    moved = Pose.of_angles(1.0, 0.0, 0.0).apply(np.array([[np.nan, 0, 0], [1, 2, 3]], np.float32))
    assert np.isnan(moved[0]).any() and moved[1].tolist() == [2, 2, 3]


def test_quaternions_and_angles_agree():
    yaw = 0.7
    turned = Pose.of_quaternion((1, 2, 3), (0, 0, math.sin(yaw / 2), math.cos(yaw / 2)))
    np.testing.assert_allclose(turned.rotation, Pose.of_angles(1, 2, 3, yaw=yaw).rotation, atol=1e-12)
    back = Pose.of_quaternion((0, 0, 0), (OPTICAL @ turned).quaternion)
    np.testing.assert_allclose(back.rotation, (OPTICAL @ turned).rotation, atol=1e-12)
    points = np.random.default_rng(0).normal(size=(5, 3))
    np.testing.assert_allclose((turned @ turned.inverse()).apply(points), points, atol=1e-12)


@pytest.mark.parametrize("quaternion", [(0, 0, 0, 0), (math.nan, 0, 0, 1)])
def test_impossible_rotations_are_refused(quaternion):
    with pytest.raises(TransformError, match="quaternion of length 1"):
        Pose.of_quaternion((0, 0, 0), quaternion)


def test_frames_are_found_through_common_ancestors():
    tree = TransformTree()
    tree.set("base_link", "mast", Pose.of_angles(1, 0, 1))
    tree.set("/mast", "/camera", Pose.of_angles(0, 0, 0.5, yaw=math.radians(90)))
    tree.set("base_link", "lidar", Pose.of_angles(0, 0, 2))
    up = tree.lookup("base_link", "camera", 0, 0.1)
    np.testing.assert_allclose(up.translation, [1, 0, 1.5])
    across = tree.lookup("camera", "lidar", 0, 0.1)
    np.testing.assert_allclose(across.apply(np.zeros(3)), [0, 1, 0.5], atol=1e-12)
    np.testing.assert_allclose(tree.lookup("camera", "camera", 0, 0.1).rotation, np.eye(3))


def test_missing_and_old_transforms_are_named():
    tree = TransformTree()
    with pytest.raises(TransformError, match="no transform from camera to base_link"):
        tree.lookup("base_link", "camera", 0, 0.1)
    tree.set("base_link", "camera", Pose.identity(), stamp_ns=10**9)
    tree.lookup("base_link", "camera", 10**9 + 10**8, 0.2)
    with pytest.raises(TransformError, match=r"transform of camera is 3\.0 s older"):
        tree.lookup("base_link", "camera", 4 * 10**9, 0.2)


def test_a_circle_of_frames_ends():
    tree = TransformTree()
    tree.set("a", "b", Pose.identity())
    tree.set("b", "a", Pose.identity())
    with pytest.raises(TransformError):
        tree.lookup("map", "a", 0, 1.0)
