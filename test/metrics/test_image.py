"""PSNR and luma against hand-computed and published values."""

import math

import cv2
import numpy as np
import pytest

from ros2_derain.metrics.image import luma, psnr, psnr_y


def test_equal_images_are_infinitely_alike():
    image = np.full((4, 5, 3), 77, np.uint8)
    assert psnr(image, image) == math.inf


def test_a_difference_of_one_level_everywhere_is_48_13_db():
    image = np.full((4, 5, 3), 77, np.uint8)
    assert psnr(image, image + 1) == pytest.approx(48.1308, abs=1e-4)


def test_luma_of_the_primaries_is_matlabs():
    primaries = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    assert luma(primaries).tolist() == [[16, 235, 81, 145, 41]]


@pytest.mark.parametrize("first, second", [((3, 3, 3), (3, 4, 3)), ((3, 3, 3), (3, 3))])
def test_different_shapes_are_refused(first, second):
    with pytest.raises(ValueError, match="reference"):
        psnr(np.zeros(first, np.uint8), np.zeros(second, np.uint8))


def test_float_images_are_refused():
    with pytest.raises(ValueError, match="uint8"):
        psnr(np.zeros((2, 2)), np.zeros((2, 2), np.uint8))


@pytest.mark.parametrize("name, published", [("rain100l_dev", 26.90), ("rain100h_dev", 13.55)])
def test_untouched_rain_is_near_the_published_psnr(data_dir, name, published):
    """Published over 100 pairs, measured over 30 of them: within 1.5 dB."""
    folder = data_dir / "rain_pairs" / name
    scores = [
        psnr_y(*(cv2.imread(str(folder / part / path.name))[:, :, ::-1] for part in ("rain", "clean")))
        for path in sorted((folder / "rain").iterdir())
    ]
    assert len(scores) == 30
    assert np.mean(scores) == pytest.approx(published, abs=1.5)
