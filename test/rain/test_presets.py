"""Presets: what the papers fix is fixed, and the public sets' styles are as strong as the sets."""

import math

import cv2
import numpy as np
import pytest

from ros2_derain.metrics.image import psnr_y
from ros2_derain.rain import PRESETS, RainError, RainRenderer, preset
from ros2_derain.rain.presets import XU_DIRECTIONS, xu
from ros2_derain.rain.render import layers


def test_xu_has_seven_directions_and_five_radii():
    rains = [xu(direction, radius) for direction in range(7) for radius in range(5)]
    assert len(set(rains)) == 35 and {rain.blending for rain in rains} == {"additive"}
    for direction, angle in enumerate(XU_DIRECTIONS):
        ((streak, velocity_x, velocity_y),) = layers(xu(direction, 2), 480, 0)
        assert streak.angle == angle
        assert math.degrees(math.atan2(velocity_x, velocity_y)) == pytest.approx(angle)


def test_xu_radius_is_half_the_width_of_a_streak_at_480_pixels():
    widths = [layers(xu(3, radius), 480, 0)[0][0].width for radius in range(5)]
    assert widths == pytest.approx([0.4, 0.8, 1.2, 1.6, 2.0], abs=0.01)
    assert layers(xu(3, 0), 960, 0)[0][0].width == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("wrong", [(7, 0), (-1, 0), (0, 5)])
def test_xu_indices_out_of_range_are_named(wrong):
    with pytest.raises(RainError, match="outside 0.."):
        xu(*wrong)


def test_rain100h_falls_in_several_directions_and_saturates():
    rain = preset("rain100h")
    angles = {round(streak.angle / 10) for streak, *_ in layers(rain, 480, 0)}
    assert len(angles) > 1
    rendered = RainRenderer(rain, 320, 480).render(np.full((320, 480, 3), 120, np.uint8))
    assert 0.05 < (rendered == 255).mean() < 0.3


def test_ubcn_is_the_screen_of_its_streaks():
    renderer = RainRenderer(preset("ubcn"), 120, 160)
    scene = np.full((120, 160, 3), 90, np.uint8)
    layer = 255 * renderer.streaks()[:, :, None].astype(float)
    screen = 255 - (255 - scene.astype(float)) * (255 - layer) / 255
    assert np.abs(renderer.render(scene) - screen).max() <= 0.51


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_renders_within_what_a_renderer_takes(name):
    assert 1 <= len(layers(preset(name), 480, 0)) <= 16


def test_an_unknown_preset_is_refused_with_what_there_is():
    with pytest.raises(RainError, match="rain100l, rain100h, ubcn, xu-DIRECTION-RADIUS"):
        preset("rain12")


@pytest.mark.parametrize("name", ["rain100l", "rain100h"])
def test_style_is_as_strong_as_the_public_set(data_dir, name):
    """Mean PSNR on Y of ten rainy images, ours and theirs, within 1.5 dB."""
    folder = data_dir / "rain_pairs" / f"{name}_dev"
    ours, theirs = [], []
    for seed, path in enumerate(sorted((folder / "clean").iterdir())[::3]):
        clean, rainy = (
            cv2.imread(str(folder / kind / path.name))[:, :, ::-1].copy() for kind in ("clean", "rain")
        )
        ours.append(psnr_y(RainRenderer(preset(name), *clean.shape[:2], seed=seed).render(clean), clean))
        theirs.append(psnr_y(rainy, clean))
    assert np.mean(ours) == pytest.approx(np.mean(theirs), abs=1.5)
