"""Every paper's network as the derainer of a model folder, through the engine."""

import numpy as np
import pytest
import tiny_model
import torch

from ros2_derain import models
from ros2_derain.engine import Engine, EngineSettings, Frame, Mode
from ros2_derain.networks import prior_from_logits


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("prior", ["temporal", "closed_loop"])
@pytest.mark.parametrize("network", tiny_model.PAPERS)
def test_a_model_folder_of_a_paper_restores_and_parses(tmp_path, network, prior):
    folder = tiny_model.write(tmp_path / "model", network=network)
    engine = Engine.load(EngineSettings(model=str(folder), device="cpu", precision="float32", prior=prior))
    engine.warm_up(75, 101)
    derainer = models.load(folder)[1]["derainer"]
    for stamp, size in enumerate([(75, 101), (75, 101), (64, 97)]):
        frame = Frame(stamp, "camera", noise(*size))
        scene = engine.process(frame)
        assert (scene.mode, scene.fault, scene.prior_missed) == (Mode.LOOP, "", False)
        assert scene.image.shape == (*size, 3) and not np.array_equal(scene.image, frame.image)
        assert scene.perception.labels.shape == scene.trust.shape == size
        unchanged = (scene.image == frame.image).all(2)
        assert scene.trust[~unchanged].mean() < scene.trust[unchanged].mean() if unchanged.any() else True
        if network != "ubcn":
            assert scene.iterations == 0, "nothing is parsed for a network that takes no prior"
            with torch.no_grad():
                image = derainer(torch.from_numpy(frame.image).permute(2, 0, 1)[None] / 255).image
            expected = image[0].permute(1, 2, 0).clamp(0, 1).mul(255).numpy()
            assert np.abs(scene.image - expected).max() <= 1


def test_ubcn_s_iterations_in_the_engine_are_the_papers(tmp_path):
    """C~ is parsed, SAM refines it with that, and the next C~ is made from the result."""
    folder = tiny_model.write(tmp_path / "model", network="ubcn")
    settings = EngineSettings(
        model=str(folder), device="cpu", precision="float32", prior="closed_loop", iterations=3
    )
    frame = Frame(0, "camera", noise(64, 80))
    scene = Engine.load(settings).process(frame)
    _, parts = models.load(folder)
    rain = torch.from_numpy(frame.image).permute(2, 0, 1)[None] / 255
    refined = rain
    with torch.no_grad():
        for _ in range(3):
            coarse = parts["derainer"].bottom_up(rain, refined)
            prior = prior_from_logits(parts["parser"](coarse.clamp(0, 1)).logits)
            refined = parts["derainer"].top_down(rain, coarse, prior)
    expected = refined[0].permute(1, 2, 0).clamp(0, 1).mul(255).numpy()
    assert scene.iterations == 3 and np.abs(scene.image - expected).max() <= 1


def test_a_dry_frame_stays_as_it_is_whatever_the_network(tmp_path):
    """The gauge is a part of the model folder of its own: no derainer decides on the gate."""
    folder = tiny_model.write(tmp_path / "dry", reads_mm_h=0.0, network="sapnet")
    frame = Frame(0, "camera", noise(64, 80))
    scene = Engine.load(EngineSettings(model=str(folder))).process(frame)
    assert scene.mode is Mode.DRY and scene.image is frame.image


def test_a_parser_without_objects_gives_labels_and_no_boxes(tmp_path):
    classes = len(tiny_model.CLASSES)
    options = {"classes": classes, "name": "light"}
    folder = tiny_model.write(tmp_path / "model", network="ubcn", parser=("ubcn_segmenter", options))
    settings = EngineSettings(model=str(folder), device="cpu", prior="closed_loop", score_threshold=0.0)
    scene = Engine.load(settings).process(Frame(0, "camera", noise(70, 90)))
    assert scene.perception.labels.shape == (70, 90) and scene.perception.detections == ()
