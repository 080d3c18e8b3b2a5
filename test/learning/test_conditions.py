"""Other light and weather: same size and objects, another appearance, a function of the random numbers."""

import numpy as np
import pytest

from ros2_derain.data import CAMVID_CLASSES
from ros2_derain.learning import conditions

SKY, ROAD, CAR = (CAMVID_CLASSES.index(name) for name in ("sky", "road", "car"))


def scene():
    """A grey road with a bright car under a blue sky, and its labels."""
    image, labels = np.full((120, 160, 3), 110, np.uint8), np.full((120, 160), ROAD, np.uint8)
    image[:50], labels[:50] = (120, 160, 230), SKY
    image[60:90, 50:90], labels[60:90, 50:90] = 220, CAR
    return image, labels


@pytest.mark.parametrize("with_labels", [True, False])
def test_every_draw_is_an_image_of_the_same_size_and_repeatable(with_labels):
    image, labels = scene()
    before = image.copy()
    known = labels if with_labels else None
    for seed in range(40):
        once, again = (
            conditions.another_condition(image, known, np.random.default_rng(seed)) for _ in range(2)
        )
        assert once.shape == image.shape and once.dtype == np.uint8
        assert (once == again).all()
    assert (image == before).all()


def test_the_sky_of_a_night_is_darker_than_its_road():
    image, labels = scene()
    for seed in range(10):
        dark = conditions.night(image.astype(np.float32) / 255, labels, np.random.default_rng(seed))
        assert np.median(dark[labels == SKY]) < min(0.15, np.median(dark[labels == ROAD]))


def test_the_sky_of_a_dusk_is_brighter_than_its_road():
    image, labels = scene()
    for seed in range(10):
        dark = conditions.dusk(image.astype(np.float32) / 255, labels, np.random.default_rng(seed))
        road = np.median(dark[labels == ROAD])
        assert road < min(0.3, np.median(dark[labels == SKY]))
        assert np.median(dark[labels == CAR]) > road


def test_fog_hides_the_distance_more_than_the_foreground():
    image, labels = scene()
    labels[:50], image[:50] = 1, 10  # dark buildings instead of the sky
    clear = image.astype(np.float32) / 255
    for seed in range(10):
        changed = np.abs(conditions.fog(clear, labels, np.random.default_rng(seed)) - clear).mean(2)
        assert changed[20:45].mean() > 2 * changed[-15:].mean()


def test_a_wet_road_mirrors_and_the_rest_stays():
    image, labels = scene()
    clear = image.astype(np.float32) / 255
    wet = conditions.wet_road(clear, labels, np.random.default_rng(0))
    assert np.abs(wet - clear)[:40].max() == 0
    assert np.abs(wet - clear)[100:].mean() > 0.01


def test_a_cheap_camera_keeps_the_scene_recognisable():
    image, _ = scene()
    for seed in range(20):
        seen = conditions.camera_effects(image, np.random.default_rng(seed))
        assert seen.shape == image.shape and seen.dtype == np.uint8
        assert np.abs(seen.astype(float) - image).mean() < 15
