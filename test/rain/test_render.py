"""Rain: deterministic, coherent in time, monotonic in rate, refused when out of range."""

import math
import time

import cv2
import numpy as np
import pytest

from ros2_derain.metrics.image import psnr
from ros2_derain.rain import Rain, RainError, RainRenderer, Window, render
from ros2_derain.rain.render import layers

SCENE = np.random.default_rng(0).integers(0, 200, (120, 160, 3), dtype=np.uint8)


def test_the_same_seed_and_time_give_the_same_rain():
    first, second = (RainRenderer(Rain(80), 120, 160, seed=5).render(SCENE, 0.4) for _ in range(2))
    assert (first == second).all()
    assert (first != RainRenderer(Rain(80), 120, 160, seed=6).render(SCENE, 0.4)).any()


def test_streaks_fall_coherently():
    """A layer of one distance moves down by speed x time: a still image, shifted."""
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
        {"wind": float("inf")},
        {"directions": (80.0,)},
        {"distances": ()},
        {"distances": (1.0, 0.0)},
        {"directions": (-30, -15, 0, 15, 30)},
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
    assert render.slope(1.0) == pytest.approx(4.1)
    assert render.fall_speed(2.0) == pytest.approx(6.55, abs=0.05)
    assert 1000 * render.extinction_per_m(100.0) == pytest.approx(6.8, abs=0.1)


def test_fast_enough_for_training():
    """At least 30 frames/s of processor time at 480x360 (it makes some hundreds)."""
    renderer, scene = RainRenderer(Rain(150), 360, 480), np.zeros((360, 480, 3), np.uint8)
    renderer.render(scene)
    started = time.process_time()
    for index in range(15):
        renderer.render(scene, index / 30)
    assert time.process_time() - started < 0.5


def test_streaks_get_more_longer_wider_and_the_veil_denser_with_the_rate():
    rates = (2, 10, 25, 50, 100, 150, 250)
    nearest = [layers(Rain(rate), 480, 0)[0][0] for rate in rates]
    for property_ in ("per_megapixel", "length", "width"):
        values = [getattr(layer, property_) for layer in nearest]
        assert values == sorted(values) and len(set(values)) == len(rates), property_
    flat = np.full((120, 160, 3), 20, np.uint8)
    veils = [RainRenderer(Rain(rate, visibility=0), 120, 160).render(flat).mean() for rate in rates]
    assert veils == sorted(veils) and veils[0] > 20


def test_the_veil_is_densest_at_the_horizon():
    veil = RainRenderer(Rain(150, visibility=0), 120, 160).render(np.zeros((120, 160, 3), np.uint8))
    rows = veil[:, 0, 0].astype(int)
    assert rows[20] > rows[90] > rows[119]


@pytest.mark.parametrize("direction", [-30.0, 0.0, 30.0])
def test_a_streak_lies_along_the_way_it_falls(direction):
    """Moved along its layer's velocity the pattern is the same; and it is longest in that direction."""
    rain = Rain(30, directions=(direction,), distances=(0.8,), crossing=0, veil=0)
    ((streak, velocity_x, velocity_y),) = layers(rain, 512, 3)
    assert math.degrees(math.atan2(velocity_x, velocity_y)) == pytest.approx(direction)
    renderer, dt = RainRenderer(rain, 512, 512, seed=3), 0.011
    first, second = renderer.streaks(0.2), renderer.streaks(0.2 + dt)
    (dx, dy), response = cv2.phaseCorrelate(first, second)
    wrap = [(d + 256) % 512 - 256 for d in (velocity_x * dt, velocity_y * dt)]
    assert (dx, dy) == (pytest.approx(wrap[0], abs=1.5), pytest.approx(wrap[1], abs=1.5)) and response > 0.9
    step = [round(6 * f(math.radians(direction))) for f in (math.sin, math.cos)]
    along = np.roll(first, (step[1], step[0]), (0, 1))
    across = np.roll(first, (step[1], -step[0]) if direction else (0, 6), (0, 1))
    assert (first * along).mean() > 1.5 * (first * across).mean()


def test_a_new_renderer_goes_on_where_another_left_off():
    """Nothing but the seed and the time counts: a clip may be rendered in any order, in pieces."""
    rain, clip = Rain(120), RainRenderer(Rain(120), 120, 160, seed=9)
    forward = [clip.render(SCENE, index / 15) for index in range(4)]
    backward = [RainRenderer(rain, 120, 160, seed=9).render(SCENE, index / 15) for index in (3, 2, 1, 0)]
    assert all((a == b).all() for a, b in zip(forward, reversed(backward), strict=True))
    assert (forward[0] != forward[1]).any()
