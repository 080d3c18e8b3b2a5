"""The contrast that a film takes: given back as far as it was lost, and never to a dry image."""

import math

import numpy as np
import pytest
import tiny_model
import torch

from ros2_derain.engine import Engine, EngineSettings, Frame, Mode
from ros2_derain.networks import film
from ros2_derain.rain import Glass, GlassRenderer


def street(height=180, width=240):
    """Sky above, blocks of several colours below."""
    random = np.random.default_rng(0)
    blocks = random.integers(20, 160, (height // 12, width // 12, 3), np.uint8).repeat(12, 0).repeat(12, 1)
    blocks[: height // 3] = (170, 190, 220)
    return blocks


def decibels(image, truth):
    return -10 * math.log10(np.mean((np.asarray(image, float) - truth) ** 2) / 255**2)


@pytest.mark.parametrize("share", [0.15, 0.4, 0.8])
def test_the_image_behind_a_rendered_film_comes_back(share):
    truth = street()
    seen = GlassRenderer(Glass(coverage=0.0, film=share), 180, 240).render(truth)
    image = torch.from_numpy(seen.image).permute(2, 0, 1)[None].float() / 255
    cleared = film.unveiled(image, seen.contrast_loss)[0].permute(1, 2, 0).numpy() * 255
    assert decibels(cleared, truth) > decibels(seen.image, truth) + 6
    assert cleared.min() >= 0 and cleared.max() <= 255


@pytest.mark.parametrize(
    "loss, back",
    [(math.nan, 0), (0.0, 0), (film.LEAST, 0), (0.2, 0.06), (0.55, 0.5), (0.95, film.MOST)],
)
def test_little_lost_contrast_is_left_and_more_given_back(loss, back):
    assert film.given_back(loss) == pytest.approx(back, abs=0.005)


def test_an_image_that_lost_nothing_is_returned_itself():
    image = torch.rand(1, 3, 70, 90)
    assert film.unveiled(image, 0.0) is image


def test_the_engine_gives_contrast_back_while_the_gate_is_open(tmp_path):
    gauge = tiny_model.sees_white_as_water(contrast_loss=0.5)
    model = str(tiny_model.write(tmp_path / "veiled", 0.0, gauge=gauge))
    image = np.clip(street() // 2 + 60, 0, 255).astype(np.uint8)
    spread = {}
    for restores in (True, False):
        settings = EngineSettings(model=model, device="cpu", restore_contrast=restores)
        found = Engine.load(settings).process(Frame(10**9, "camera", image))
        assert found.mode is Mode.LOOP and found.view.contrast_loss == pytest.approx(0.5, abs=0.01)
        spread[restores] = np.std(found.image)
        assert (found.trust.min() < 255) == restores, "what was changed is trusted less"
    assert spread[True] > 1.4 * spread[False]
