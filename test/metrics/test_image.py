"""PSNR, SSIM and luma against hand-computed and published values."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ros2_derain.metrics import MetricError, luma, psnr, psnr_y, ssim, ssim_y

NOISE = np.random.default_rng(3).integers(0, 256, (2, 24, 31, 3), dtype=np.uint8)


def ssim_by_definition(x: np.ndarray, y: np.ndarray) -> float:
    """Equation 13 of Wang et al. 2004, one window at a time."""
    ramp = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(ramp, ramp) / np.outer(ramp, ramp).sum()
    found = []
    for top in range(x.shape[0] - 10):
        for left in range(x.shape[1] - 10):
            a, b = (image[top : top + 11, left : left + 11].astype(float) for image in (x, y))
            mean_a, mean_b = (window * a).sum(), (window * b).sum()
            variance_a, variance_b = (window * (a - mean_a) ** 2).sum(), (window * (b - mean_b) ** 2).sum()
            covariance = (window * (a - mean_a) * (b - mean_b)).sum()
            likeness = (2 * mean_a * mean_b + 2.55**2) * (2 * covariance + 7.65**2)
            likeness /= (mean_a**2 + mean_b**2 + 2.55**2) * (variance_a + variance_b + 7.65**2)
            found.append(likeness)
    return float(np.mean(found))


def test_equal_images_are_infinitely_alike():
    image = np.full((4, 5, 3), 77, np.uint8)
    assert psnr(image, image) == math.inf


def test_a_difference_of_one_level_everywhere_is_48_13_db():
    image = np.full((4, 5, 3), 77, np.uint8)
    assert psnr(image, image + 1) == pytest.approx(48.1308, abs=1e-4)


def test_luma_of_the_primaries_is_matlabs():
    primaries = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    assert luma(primaries).tolist() == [[16, 235, 81, 145, 41]]


def test_luma_is_rounded_not_cut():
    red, green, blue = (NOISE[0, :, :, c].astype(int) for c in range(3))
    exact = (65481 * red + 128553 * green + 24966 * blue + 16_000 * 255 + 127_500) // 255_000
    assert (luma(NOISE[0]) == exact).all()


def test_ssim_is_its_definition():
    image = cv2.GaussianBlur(NOISE[0], (5, 5), 1)
    by_channel = [ssim_by_definition(image[..., c], NOISE[0][..., c]) for c in range(3)]
    assert ssim(image, NOISE[0]) == pytest.approx(np.mean(by_channel), abs=1e-5)
    assert ssim_y(image, NOISE[0]) == pytest.approx(ssim_by_definition(luma(image), luma(NOISE[0])), abs=1e-5)


def test_ssim_of_flat_images_is_their_luminance_term():
    dark, bright = np.full((12, 12), 100, np.uint8), np.full((12, 12), 200, np.uint8)
    assert ssim(dark, bright) == pytest.approx(
        (2 * 100 * 200 + 6.5025) / (100**2 + 200**2 + 6.5025), abs=1e-6
    )


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(11, 20), st.integers(11, 20))
def test_ssim_is_symmetric_and_bounded(seed, height, width):
    first, second = np.random.default_rng(seed).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    assert ssim(first, second) == pytest.approx(ssim(second, first), abs=1e-6)
    assert -1 <= ssim(first, second) < 1
    assert ssim(first, first) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("metric", [psnr, ssim])
@pytest.mark.parametrize("first, second", [((13, 13, 3), (13, 14, 3)), ((13, 13, 3), (13, 13))])
def test_different_shapes_are_refused(metric, first, second):
    with pytest.raises(MetricError, match="reference"):
        metric(np.zeros(first, np.uint8), np.zeros(second, np.uint8))


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_float_images_are_refused(metric):
    with pytest.raises(MetricError, match="image is float64, its reference uint8"):
        metric(np.zeros((12, 12)), np.zeros((12, 12), np.uint8))


def test_images_smaller_than_the_window_are_refused():
    with pytest.raises(MetricError, match="30x10, SSIM needs 11x11"):
        ssim(np.zeros((10, 30), np.uint8), np.zeros((10, 30), np.uint8))


def test_luma_of_a_grey_image_is_refused():
    with pytest.raises(MetricError, match="RGB"):
        luma(np.zeros((10, 30), np.uint8))


# Over all 100 pairs the literature prints Y 26.90/0.838 and RGB 25.52/0.825 for Rain100L,
# Y 13.55/0.378 and RGB 12.13/0.349 for Rain100H.
@pytest.mark.parametrize(
    "name, on_y, on_rgb",
    [
        ("rain100l_dev", (26.506, 0.8366), (25.122, 0.8223)),
        ("rain100h_dev", (13.422, 0.3751), (12.024, 0.3406)),
    ],
)
def test_untouched_rain_scores_what_is_stated(data_dir, name, on_y, on_rgb):
    folder = data_dir / "rain_pairs" / name
    scores = []
    for path in sorted((folder / "rain").iterdir()):
        pair = [cv2.imread(str(folder / part / path.name))[:, :, ::-1] for part in ("rain", "clean")]
        scores.append([metric(*pair) for metric in (psnr_y, ssim_y, psnr, ssim)])
    assert len(scores) == 30
    assert np.mean(scores, 0) == pytest.approx([*on_y, *on_rgb], abs=6e-4)
