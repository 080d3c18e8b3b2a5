"""NIQE: its distribution fits, its model, and what it says of clean and damaged photographs."""

import math

import cv2
import numpy as np
import pytest

from ros2_derain.metrics import MetricError, PristineModel, block_features, fit_aggd, fit_pristine, niqe
from ros2_derain.metrics.niqe import shipped_model
from ros2_derain.metrics.niqe_fit import main

RANDOM = np.random.default_rng(4)


def texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(128, 60, (height, width, 3))
    return cv2.GaussianBlur(noise, (0, 0), 0.8).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def photos(data_dir) -> list[np.ndarray]:
    """Clean photographs that the shipped model has not seen."""
    paths = sorted((data_dir / "rain_pairs" / "rain100l_dev" / "clean").iterdir())[:6]
    return [cv2.imread(str(path))[:, :, ::-1] for path in paths]


@pytest.mark.parametrize(
    "samples, shape, scale",
    [
        (RANDOM.normal(0, 3, (2, 200_000)), 2, 3 * math.sqrt(2)),
        (RANDOM.laplace(0, 0.5, (2, 200_000)), 1, 0.5),
    ],
)
def test_known_distributions_are_recovered(samples, shape, scale):
    alpha, left, right = fit_aggd(samples)
    assert alpha == pytest.approx([shape] * 2, rel=0.02)
    assert left == pytest.approx([scale] * 2, rel=0.02)
    assert right == pytest.approx([scale] * 2, rel=0.02)


def test_the_sides_of_a_skewed_distribution_have_their_own_scales():
    """Of an asymmetric Laplacian, side by side as likely as their scales are wide."""
    sizes = RANDOM.exponential(1, (1, 300_000))
    left_side = RANDOM.random(sizes.shape) < 0.25
    alpha, left, right = fit_aggd(np.where(left_side, -sizes, 3 * sizes))
    assert (alpha[0], left[0], right[0]) == pytest.approx((1, 1, 3), rel=0.02)


def test_features_come_block_by_block_and_flat_blocks_are_left_out():
    image = texture(200, 300)
    features, sharpness = block_features(image)
    assert features.shape == (6, 36) and sharpness.shape == (6,)
    image[:100, :100] = 90
    assert len(block_features(image)[0]) == 5


def test_more_damage_is_worse_on_photographs_the_model_has_not_seen(photos):
    def damaged(damage) -> float:
        return float(np.mean([niqe(damage(photo)) for photo in photos]))

    def noisy(sigma):
        noise = np.random.default_rng(0).normal(0, sigma, photos[0].shape)
        return lambda p: np.clip(p + noise.reshape(p.shape), 0, 255).astype(np.uint8)

    def compressed(quality):
        return lambda p: cv2.imdecode(cv2.imencode(".jpg", p, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 1)

    clean = damaged(lambda p: p)
    assert clean < 4
    for worse in (
        [damaged(lambda p, s=s: cv2.GaussianBlur(p, (0, 0), s)) for s in (1, 3)],
        [damaged(noisy(sigma)) for sigma in (5, 25)],
        [damaged(compressed(quality)) for quality in (50, 10)],
    ):
        assert clean < worse[0] < worse[1]


def test_heavy_rain_is_worse_than_light_rain_is_worse_than_none(data_dir, photos):
    rainy = []
    for name in ("rain100l_dev", "rain100h_dev"):
        paths = sorted((data_dir / "rain_pairs" / name / "rain").iterdir())[:6]
        rainy.append(np.mean([niqe(cv2.imread(str(path))[:, :, ::-1]) for path in paths]))
    assert np.mean([niqe(photo) for photo in photos]) < rainy[0] < rainy[1]


def test_grey_and_colour_of_the_same_are_the_same():
    image = texture(200, 200)
    assert niqe(image) == niqe(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)) >= 0


def test_the_shipped_model_says_where_it_comes_from():
    model = shipped_model()
    assert "BSDS500" in model.origin and "niqe_fit" in model.origin
    assert (model.covariance == model.covariance.T).all()
    assert np.linalg.eigvalsh(model.covariance).min() > 0


def test_a_model_is_fitted_written_and_read_again():
    images = [texture(500, 500, seed) for seed in range(3)]
    fitted = fit_pristine(images, 'noise, "made" here')
    read = PristineModel.from_json(fitted.to_json())
    assert read.origin == fitted.origin
    assert read.mean == pytest.approx(fitted.mean, rel=1e-6)
    held_out = texture(500, 500, 9)
    assert niqe(held_out, read) == pytest.approx(niqe(held_out, fitted), rel=1e-3)
    assert niqe(held_out, read) < niqe(cv2.GaussianBlur(held_out, (0, 0), 1), read)


def test_the_command_makes_a_model_of_a_folder(tmp_path, capsys):
    for seed in range(3):
        cv2.imwrite(str(tmp_path / f"{seed}.png"), texture(500, 500, seed))
    made = tmp_path / "model.json"
    assert main([str(tmp_path), "--origin", "noise", "--out", str(made)]) == 0
    assert PristineModel.from_json(made.read_text()).origin.startswith("3 photographs, noise")
    assert str(made) in capsys.readouterr().out


def test_the_command_names_what_it_cannot_read(tmp_path, capsys):
    assert main([str(tmp_path / "absent")]) == 2
    assert "absent" in capsys.readouterr().err
    (tmp_path / "torn.png").write_bytes(b"no image")
    assert main([str(tmp_path), "--out", str(tmp_path / "model.json")]) == 2
    assert "torn.png is no image" in capsys.readouterr().err
    assert not (tmp_path / "model.json").exists()


@pytest.mark.parametrize(
    "image, message",
    [
        (texture(100, 180), "180x100, NIQE needs two blocks of 96x96"),
        (texture(200, 200) / 255, "float64, expected"),
        (np.full((200, 200, 3), 80, np.uint8), "texture"),
    ],
)
def test_unfit_images_are_refused(image, message):
    with pytest.raises(MetricError, match=message):
        niqe(image)


@pytest.mark.parametrize(
    "text, message",
    [
        ("no json", "no NIQE model"),
        ("[]", "no NIQE model"),
        ('{"mean": [1], "covariance": [[1]], "origin": ""}', r"\(1,\) means"),
    ],
)
def test_text_that_is_no_model_is_refused(text, message):
    with pytest.raises(MetricError, match=message):
        PristineModel.from_json(text)


def test_too_few_photographs_make_no_model():
    with pytest.raises(MetricError, match="sharp blocks do not make a model"):
        fit_pristine([texture(200, 200)], "one")
