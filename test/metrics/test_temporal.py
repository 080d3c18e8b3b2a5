"""Flicker and warped error: by hand where nothing moves, on moved textures, on a real clip."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ros2_derain.metrics import (
    MetricError,
    Motion,
    label_flicker,
    motion_between,
    warp_error,
    warp_image,
    warp_labels,
)

STILL = Motion(np.zeros((6, 8, 2), np.float32), np.ones((6, 8), bool))


def texture(height: int, width: int, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(128, 90, (height, width, 3))
    return cv2.GaussianBlur(noise, (0, 0), 2).clip(0, 255).astype(np.uint8)


def test_the_motion_of_a_moved_texture_is_found():
    scene = texture(140, 180, 0)
    motion = motion_between(scene[10:110, 20:140], scene[13:113, 15:135])
    middle = motion.flow[20:-20, 20:-20]
    assert middle == pytest.approx(np.broadcast_to([-5, 3], middle.shape), abs=0.3)
    assert motion.seen[20:-20, 20:-20].mean() > 0.99
    assert warp_image(scene[10:110, 20:140], motion)[20:-20, 20:-20] == pytest.approx(
        scene[33:93, 35:115], abs=8
    )


def test_what_was_hidden_is_not_seen():
    """A patch moves right by eight pixels over a still ground, and bares what it hid."""
    before, now, patch = texture(100, 140, 1), texture(100, 140, 1), texture(40, 50, 2)
    before[30:70, 40:90] = patch
    now[30:70, 48:98] = patch
    seen = motion_between(before, now).seen
    assert seen[35:65, 41:47].mean() < 0.2
    assert seen[35:65, 60:85].mean() > 0.95
    assert seen[:20, :].mean() > 0.95


def test_flicker_by_hand():
    labels = np.zeros((6, 8), np.uint8)
    labels[:, 5:] = 1
    changed = labels.copy()
    changed[2, 1] = 1  # four pixels from the class it takes
    changed[4, 4] = 1  # the border wavers by one
    changed[0, 0] = 255
    assert label_flicker(labels, labels, STILL) == 0
    assert label_flicker(labels, changed, STILL) == 2 / 48
    assert label_flicker(labels, changed, STILL, tolerance=0) == 3 / 48


def test_only_what_is_seen_counts():
    labels = np.zeros((6, 8), np.uint8)
    changed = labels.copy()
    changed[:3] = 2
    half = Motion(STILL.flow, np.arange(48).reshape(6, 8) >= 16)
    assert label_flicker(labels, changed, half) == 8 / 32
    nothing = Motion(STILL.flow, np.zeros((6, 8), bool))
    assert np.isnan(label_flicker(labels, changed, nothing))
    assert np.isnan(warp_error(labels, changed, nothing))


def test_what_truly_changed_or_is_unknown_is_no_flicker():
    labels, truth = np.zeros((6, 8), np.uint8), np.zeros((6, 8), np.uint8)
    changed, true_now = labels.copy(), truth.copy()
    changed[:3] = 2
    true_now[0], true_now[1] = 2, 255
    assert label_flicker(labels, changed, STILL) == 24 / 48
    assert label_flicker(labels, changed, STILL, (truth, true_now)) == 8 / 32


def test_labels_that_move_with_the_scene_do_not_flicker():
    scene, labels = texture(140, 180, 3), np.kron(np.eye(2), np.ones((70, 90))).astype(np.uint8)
    motion = motion_between(scene[:100, :150], scene[6:106, 9:159])
    before, now = labels[:100, :150], labels[6:106, 9:159]
    assert label_flicker(before, now, motion) < 0.002
    assert label_flicker(before, now, Motion(motion.flow * 0, motion.seen)) > 0.05
    assert (warp_labels(before, motion) == now)[motion.seen].mean() > 0.98


def test_warp_error_by_hand():
    dark = np.full((6, 8, 3), 40, np.uint8)
    assert warp_error(dark, dark, STILL) == 0
    assert warp_error(dark, dark + 51, STILL) == pytest.approx(0.2**2)
    assert warp_error(dark[..., 0], dark[..., 0] + 51, STILL) == pytest.approx(0.2**2)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 3))
def test_bounds(seed, tolerance):
    random = np.random.default_rng(seed)
    motion = Motion(random.normal(0, 3, (9, 11, 2)).astype(np.float32), random.random((9, 11)) < 0.5)
    before, now = random.integers(0, 4, (2, 9, 11), dtype=np.uint8)
    strict = label_flicker(before, now, motion, tolerance=tolerance)
    loose = label_flicker(before, now, motion, tolerance=tolerance + 1)
    assert 0 <= loose <= strict <= 1
    assert 0 <= warp_error(before * 85, now * 85, motion) <= 1


def test_a_real_clip(data_dir):
    """Its labels flicker as stated; streaks of rain that come and go show, a steady haze does not."""
    folder, random = data_dir / "camvid" / "val", np.random.default_rng(0)
    images = sorted((folder / "images").iterdir())[20:22]
    before, now = (cv2.imread(str(path))[:, :, ::-1] for path in images)
    labels = [cv2.imread(str(folder / "labels" / f"{path.stem}.png"), -1) for path in images]
    motion = motion_between(before, now)
    assert 0.85 < motion.seen.mean() < 1
    assert label_flicker(*labels, motion) < 0.03
    assert label_flicker(*labels, motion, tuple(labels)) == 0
    streaks = [
        np.maximum(image, 255 * (random.random(image.shape) < 0.02)).astype(np.uint8)
        for image in (before, now)
    ]
    haze = [cv2.addWeighted(image, 0.7, np.full_like(image, 200), 0.3, 0) for image in (before, now)]
    dry = warp_error(before, now, motion)
    assert warp_error(*haze, motion) < dry < 0.005
    assert warp_error(*streaks, motion) > 2 * dry


def test_frames_that_do_not_fit_are_refused():
    grey = np.zeros((6, 8), np.uint8)
    with pytest.raises(MetricError, match="8x6, optical flow needs 12x12"):
        motion_between(grey, grey)
    with pytest.raises(MetricError, match=r"\(6, 7\) uint8, its motion \(6, 8\)"):
        label_flicker(grey[:, :7], grey, STILL)
    with pytest.raises(MetricError, match="int64"):
        label_flicker(grey, grey.astype(np.int64), STILL)
    with pytest.raises(MetricError, match="float64"):
        warp_error(grey / 255, grey / 255, STILL)
