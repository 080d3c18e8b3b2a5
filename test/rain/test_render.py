"""Rain: deterministic, coherent in time, monotonic in rate, refused when out of range."""

import time

import numpy as np
import pytest

from ros2_derain.metrics.image import psnr
from ros2_derain.rain import Rain, RainError, RainRenderer, Window, physics

SCENE = np.random.default_rng(0).integers(0, 200, (120, 160, 3), dtype=np.uint8)


def test_the_same_seed_and_time_give_the_same_rain():
    first, second = (RainRenderer(Rain(80), 120, 160, seed=5).render(SCENE, 0.4) for _ in range(2))
    assert (first == second).all()
    assert (first != RainRenderer(Rain(80), 120, 160, seed=6).render(SCENE, 0.4)).any()


def test_streaks_fall_coherently():
    """A layer of one distance moves down by speed x time: a still picture, shifted."""
    renderer = RainRenderer(Rain(50, wind=0.0, crossing=0.0), 256, 256)
    renderer._layers = renderer._layers[:1]
    _, _, speed = renderer._layers[0]
    moved = renderer.streaks(10 / speed)
    assert np.allclose(moved[10:], renderer.streaks(0.0)[:-10], atol=1e-6)


def test_more_rain_hides_more():
    scores = [psnr(RainRenderer(Rain(rate), 120, 160).render(SCENE), SCENE) for rate in (5, 50, 150, 250)]
    assert scores == sorted(scores, reverse=True)


def test_no_rain_is_no_change():
    rendered = RainRenderer(Rain(0), 120, 160).render(SCENE)
    assert (rendered == SCENE).all() and rendered is not SCENE


def test_additive_is_brighter_than_screen():
    screen, additive = (
        RainRenderer(Rain(150, veil=0, blending=blending), 120, 160).render(SCENE).mean()
        for blending in ("screen", "additive")
    )
    assert additive > screen > SCENE.mean()


def test_a_window_is_that_part_of_the_whole():
    renderer = RainRenderer(Rain(100), 120, 160)
    window = Window(30, 40, 64, 96)
    part = renderer.render(SCENE[30:94, 40:136], 0.2, window)
    assert (part == renderer.render(SCENE, 0.2)[30:94, 40:136]).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate": -1},
        {"rate": 251},
        {"rate": float("nan")},
        {"exposure": 0},
        {"visibility": -0.1},
        {"blending": "burn"},
    ],
)
def test_parameters_out_of_range_are_named(wrong):
    with pytest.raises(RainError, match=next(iter(wrong))):
        Rain(**wrong)


def test_an_image_of_another_size_is_refused():
    with pytest.raises(RainError, match=r"\(120, 160, 3\)"):
        RainRenderer(Rain(10), 120, 160).render(SCENE[:100])


def test_physics_against_published_values():
    """Marshall & Palmer: Lambda at 1 mm/h is 4.1 / mm; Atlas: a 2 mm drop falls at 6.5 m/s."""
    assert physics.slope(1.0) == pytest.approx(4.1)
    assert physics.fall_speed(2.0) == pytest.approx(6.55, abs=0.05)
    assert 1000 * physics.extinction_per_m(100.0) == pytest.approx(6.8, abs=0.1)


def test_fast_enough_for_training():
    """At least 30 frames/s at 480x360 (it makes some hundreds)."""
    renderer, scene = RainRenderer(Rain(150), 360, 480), np.zeros((360, 480, 3), np.uint8)
    renderer.render(scene)
    started = time.perf_counter()
    for index in range(15):
        renderer.render(scene, index / 30)
    assert time.perf_counter() - started < 0.5
