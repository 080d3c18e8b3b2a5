"""Derainers as strangers export them: what they return, ranges of numbers, sizes, tiles."""

import numpy as np
import pytest
import tiny_model
from foreign_networks import mixer

from ros2_derain import cli, models
from ros2_derain.engine import Engine, EngineSettings, Frame, Mode
from ros2_derain.engine.foreign.derainer import starts

pytest.importorskip("onnxruntime")

GAIN = 0.8
IDENTITY = np.eye(3)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_model.write(tmp_path_factory.mktemp("base") / "tiny")


def imported(base, out, file, *words) -> models.ModelCard:
    words = ["models", "import", file, "--as", "derainer", "--base", base, "--out", out, *words]
    assert cli.main([str(word) for word in words]) == 0
    return models.read_card(out)


def restored(folder, image) -> np.ndarray:
    settings = EngineSettings(model=str(folder), device="cpu", precision="float32", gate=False)
    scene = Engine.load(settings).process(Frame(0, "camera", image))
    assert (scene.mode, scene.fault, scene.iterations) == (Mode.LOOP, "", 0)
    return scene.image


SHAPES = {
    "any size": (1, 3, "h", "w"),
    "any size, channels last": (1, "h", "w", 3),
    "tiles smaller than the image": (1, 3, 64, 96),
    "larger than the image": (1, 3, 256, 320),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("values, gain", [("image", GAIN), ("rain", 1 - GAIN), ("correction", GAIN - 1)])
def test_every_size_and_meaning_gives_the_same_image(shape, values, gain, base, tmp_path):
    is_last = "last" in shape
    after = []
    output = ("out", 1, (1, 3, "h", "w"))
    if is_last:
        from onnx import helper

        after = [helper.make_node("Transpose", ["mixed"], ["out"], perm=[0, 2, 3, 1])]
        output = ("out", 1, (1, "h", "w", 3))
    file = mixer(
        tmp_path / "stranger.onnx",
        gain * IDENTITY,
        np.zeros(3),
        SHAPES[shape],
        is_last=is_last,
        after=after,
        output=output,
    )
    card = imported(base, tmp_path / "mine", file, "--values", values)
    assert card.onnx["derainer"].image.values == values and "derainer" not in card.networks
    image = np.random.default_rng(0).integers(0, 256, (150, 203, 3), np.uint8)
    assert np.abs(restored(tmp_path / "mine", image) - GAIN * image).max() <= 1


def test_what_the_output_means_is_found_by_removing_rendered_rain(base, tmp_path):
    """A network that returns nearly its input leaves the image as it is; as rain to subtract, hardly any."""
    file = mixer(tmp_path / "mild.onnx", 0.98 * IDENTITY, np.zeros(3))
    part = imported(base, tmp_path / "mine", file).onnx["derainer"]
    assert part.image.values == "image" and part.input.white == 1.0
    file = mixer(tmp_path / "residual.onnx", 0.02 * IDENTITY, np.zeros(3))
    assert imported(base, tmp_path / "other", file).onnx["derainer"].image.values == "rain"


def test_a_range_of_255_with_an_offset_is_found(base, tmp_path):
    """Right for 0..255 alone: the offset would blacken an image in 0..1."""
    file = mixer(tmp_path / "bytes.onnx", IDENTITY, np.full(3, -2.0))
    assert imported(base, tmp_path / "mine", file).onnx["derainer"].input.white == 255.0


@pytest.mark.parametrize("length, tile, overlap", [(203, 64, 32), (64, 64, 8), (65, 64, 32), (1000, 96, 0)])
def test_tiles_cover_everything_and_overlap(length, tile, overlap):
    found = starts(length, tile, overlap)
    assert found[0] == 0 and found[-1] == max(0, length - tile)
    assert all(right - left <= tile - overlap for left, right in zip(found, found[1:], strict=False))
