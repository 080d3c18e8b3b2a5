"""What water hides is filled from around, and from earlier frames in which it was seen; the rest stays."""

import numpy as np
import pytest
import tiny_model
import torch

from ros2_derain.engine import Engine, EngineSettings, Frame, Mode
from ros2_derain.networks.inpainting import Inpainter

STEP = 4
"""Pixels that the scene moves to the left from frame to frame."""


def scene(index: int = 0, height: int = 120, width: int = 160) -> np.ndarray:
    """Frame ``index`` of a texture that moves to the left."""
    coarse = np.random.default_rng(3).integers(40, 215, (height // 8, width // 2, 3)).astype(np.float32)
    texture = np.kron(coarse, np.ones((8, 8, 1), np.float32))
    return np.ascontiguousarray(texture[:, STEP * index : STEP * index + width].astype(np.uint8))


def drop(height: int = 120, width: int = 160) -> np.ndarray:
    obstruction = np.zeros((height, width), np.uint8)
    obstruction[50:70, 60:80] = 255
    return obstruction


def wet(image: np.ndarray) -> np.ndarray:
    image = image.copy()
    image[drop() > 0] = 255 - image[drop() > 0]
    return image


def error(image: np.ndarray, truth: np.ndarray) -> float:
    """Mean squared error where the drop is."""
    return float(np.square(image.astype(float) - truth)[drop() > 0].mean())


def test_a_hidden_place_takes_colours_from_around_it_and_the_rest_stays():
    image = np.full((120, 160, 3), 90, np.uint8)
    image[:, 80:] = 160
    filled = Inpainter().fill(wet(image), drop())
    assert 85 <= filled[60, 70].min() and filled[60, 70].max() <= 165
    assert error(filled, image) < 0.1 * error(wet(image), image)
    far = np.ones((120, 160), bool)
    far[40:80, 50:90] = False
    assert np.array_equal(filled[far], image[far])


def test_what_was_seen_before_returns_behind_a_drop_that_stands_still():
    remembering, forgetful = Inpainter(), Inpainter()
    for index in range(12):
        truth = scene(index)
        once = forgetful.fill(wet(truth), drop())
        forgetful.reset()
        again = remembering.fill(wet(truth), drop())
    assert error(once, truth) < error(wet(truth), truth)
    assert error(again, truth) < 0.5 * error(once, truth)


@pytest.mark.parametrize("remembers, is_wet", [(True, True), (True, False), (False, True)])
def test_the_doubtful_rim_of_a_drop_is_filled_if_it_is_unlike_what_was_seen_there_before(remembers, is_wet):
    obstruction = np.where(drop() > 0, np.uint8(0.4 * 255), np.uint8(0))
    obstruction[54:66, 64:76] = 255
    rim = drop() > 0
    rim[53:67, 63:77] = False
    inpainter, truth = Inpainter(), scene(1)
    if remembers:
        inpainter.remember(scene(0))
    view = np.where((drop() > 0)[..., None] & is_wet, np.uint8(240), truth)  # bright water
    wrong, left = (
        np.square(image.astype(float) - truth)[rim].mean()
        for image in (view, inpainter.fill(view, obstruction))
    )
    if remembers and is_wet:
        assert left < 0.5 * wrong
    else:
        assert left == wrong


def test_a_dry_frame_is_remembered_and_returned_as_it_is():
    inpainter = Inpainter()
    before, now = scene(0), scene(1)
    assert inpainter.fill(before, np.zeros((120, 160), np.uint8)) is before
    filled = inpainter.fill(wet(now), drop())
    assert error(filled, now) < error(Inpainter().fill(wet(now), drop()), now)


def test_another_scene_or_size_is_not_filled_with_the_one_before():
    inpainter = Inpainter()
    inpainter.remember(np.full((120, 160, 3), 255, np.uint8))
    dark = np.full((120, 160, 3), 30, np.uint8)
    assert inpainter.fill(wet(dark), drop()).max() < 60
    inpainter.remember(np.full((96, 128, 3), 255, np.uint8))
    assert inpainter.fill(wet(dark), drop()).max() < 60


@pytest.mark.parametrize("size", [(64, 64), (97, 131), (300, 65)])
def test_any_size_even_all_hidden_is_an_image(size):
    inpainter = Inpainter()
    for obstruction in (np.full(size, 255, np.uint8), np.full(size, 60, np.uint8)):
        for _ in range(2):
            image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
            filled = inpainter.fill(image, obstruction)
            assert filled.shape == image.shape and filled.dtype == np.uint8


@pytest.mark.parametrize("fill_hidden", [True, False])
def test_the_engine_fills_where_its_gauge_sees_water(fill_hidden, tmp_path):
    gauge = tiny_model.modules(100.0)["gauge"]
    torch.nn.init.constant_(gauge.hides[0].bias, 20.0)
    model = tiny_model.write(tmp_path / "model", gauge=gauge)
    engine = Engine.load(EngineSettings(model=str(model), device="cpu", fill_hidden=fill_hidden))
    plain = Engine.load(EngineSettings(model=str(model), device="cpu", fill_hidden=False))
    frame = Frame(1, "camera", scene())
    found, kept = engine.process(frame), plain.process(frame)
    assert found.obstruction.min() > 200 and found.trust.max() < 60
    assert np.array_equal(found.image, kept.image) != fill_hidden


@pytest.mark.parametrize("reads_mm_h, refinements", [(0.0, 0), (100.0, 1)])
def test_without_rain_the_engine_restores_what_water_hides_and_nothing_else(
    reads_mm_h, refinements, tmp_path
):
    gauge = tiny_model.sees_white_as_water(reads_mm_h)
    model = tiny_model.write(tmp_path / "model", reads_mm_h, gauge=gauge)
    engine = Engine.load(EngineSettings(model=str(model), device="cpu"))
    image = np.random.default_rng(0).integers(0, 180, (96, 128, 3), np.uint8)
    image[:32, :32] = 255
    found = engine.process(Frame(1, "camera", image))
    assert (found.mode, found.iterations) == (Mode.LOOP, refinements)
    changed = (found.image != image).any(2)
    assert changed[8:24, 8:24].all() and changed[48:, 48:].any() == bool(refinements)
    assert (found.trust[48:, 48:] == 255).all() or refinements
