"""FSIM and FSIMc: what the paper promises of them, and their pinned values."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ros2_derain.metrics import MetricError, fsim, fsimc, phase_congruency


@pytest.fixture(scope="module")
def photo(data_dir) -> np.ndarray:
    path = next((data_dir / "rain_pairs" / "rain100l_dev" / "clean").iterdir())
    return cv2.imread(str(path))[:, :, ::-1].copy()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(8, 40), st.integers(8, 40))
def test_symmetric_bounded_and_one_when_equal(seed, height, width):
    first, second = np.random.default_rng(seed).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    for metric in (fsim, fsimc):
        assert metric(first, first) == pytest.approx(1, abs=1e-5)
        assert metric(first, second) == pytest.approx(metric(second, first), abs=1e-5)
        assert 0 < metric(first, second) < 1


def test_phase_congruency_finds_an_edge_in_noise_whatever_its_contrast():
    scene = np.random.default_rng(0).normal(100, 2, (256, 256))
    scene[:, 128:] += 100
    found, faint = phase_congruency(scene), phase_congruency(scene / 4)
    assert found[:, 127:129].min() > 3 * found[:, 30:100].mean()
    assert np.abs(faint - found).max() < 0.01


def test_flat_images_are_alike():
    flat = np.full((32, 32), 90, np.uint8)
    assert fsim(flat, flat) == pytest.approx(1, abs=1e-6)


def test_more_damage_scores_less(photo):
    blurred = [fsimc(cv2.GaussianBlur(photo, (0, 0), sigma), photo) for sigma in (0.6, 1.2, 2.4)]
    noise = np.random.default_rng(1).normal(0, 1, photo.shape)
    noisy = [fsim(np.clip(photo + s * noise, 0, 255).astype(np.uint8), photo) for s in (5, 15, 45)]
    for scores in (blurred, noisy):
        assert 1 > scores[0] > scores[1] > scores[2]


def test_a_colour_cast_shows_in_fsimc_only(photo):
    y, cr, cb = cv2.split(cv2.cvtColor(photo, cv2.COLOR_RGB2YCrCb))
    grey = np.full_like(cr, 128)
    faded = cv2.cvtColor(cv2.merge((y, grey, grey)), cv2.COLOR_YCrCb2RGB)
    assert fsim(faded, photo) > 0.99
    assert fsimc(faded, photo) < fsim(faded, photo) - 0.01


def test_a_large_pair_is_halved_by_averaging(photo):
    """Above 384 pixels blocks of 2 x 2 are averaged, which undoes a magnification by two."""
    small = photo[:256, :256]
    damaged = cv2.GaussianBlur(small, (0, 0), 1)
    magnified = [image.repeat(2, 0).repeat(2, 1) for image in (damaged, small)]
    assert fsim(*magnified) == pytest.approx(fsim(damaged, small), abs=1e-5)


@pytest.mark.parametrize(
    "name, pinned", [("rain100l_dev", (0.8562, 0.8560)), ("rain100h_dev", (0.6042, 0.6023))]
)
def test_untouched_rain_scores_what_was_measured(data_dir, name, pinned):
    """On three pairs, by the formulas that gave the authors' published scores on theirs."""
    folder = data_dir / "rain_pairs" / name
    scores = []
    for path in sorted((folder / "rain").iterdir())[:3]:
        pair = [cv2.imread(str(folder / part / path.name))[:, :, ::-1] for part in ("rain", "clean")]
        scores.append([fsim(*pair), fsimc(*pair)])
    assert np.mean(scores, 0) == pytest.approx(pinned, abs=1e-4)


def test_grey_images_have_no_fsimc():
    grey = np.zeros((20, 20), np.uint8)
    with pytest.raises(MetricError, match="use fsim"):
        fsimc(grey, grey)


@pytest.mark.parametrize("shape", [(7, 20), (20, 20, 4)])
def test_unfit_images_are_refused(shape):
    with pytest.raises(MetricError, match="FSIM needs"):
        fsim(np.zeros(shape, np.uint8), np.zeros(shape, np.uint8))
