"""A paper's network from its recipe to a derained frame, by the commands that a user types."""

import json

import cv2
import numpy as np
import pytest
import tiny_model
import torch
from tiny_training import LOOP, train, write_data, write_recipe

from ros2_derain import cli, models
from ros2_derain.data import CAMVID_CLASSES, OBJECTS
from ros2_derain.engine import Engine, EngineSettings, Frame, Mode

RESTORE = {
    **LOOP,
    "name": "danet",
    "task": "restore",
    "steps": 2,
    "networks": {"derainer": {"network": "danet", "options": tiny_model.PAPERS["danet"]}},
    "sources": {"photographs": 1},
    "clips": {**LOOP["clips"], "frames": 1},
    "loss": {"charbonnier": 1, "ssim": 0.15, "half": 1, "half_ssim": 0.15},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """``danet``: trained for two steps, folder with the parser and gauge of ``base``."""
    folder = tmp_path_factory.mktemp("papers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny_model, "CLASSES", CAMVID_CLASSES)
        patch.setattr(tiny_model, "OBJECTS", OBJECTS)
        options = {"classes": len(CAMVID_CLASSES), "objects": len(OBJECTS), "widths": [8, 8, 8, 8]}
        tiny_model.write(folder / "base", network="danet", parser=("scene_parser", options))
    recipe = write_recipe(folder / "danet.yaml", RESTORE)
    assert train(recipe, write_data(folder / "data"), folder / "run") == 0
    words = ["export", folder / "run", "--base", folder / "base", "--out", folder / "danet"]
    assert cli.main([str(word) for word in words]) == 0
    return folder


def test_the_card_tells_the_network_and_where_the_rest_is_from(folder):
    card = models.read_card(folder / "danet")
    assert card.networks["derainer"]["network"] == "danet"
    assert card.training["runs"][0]["recipe"]["name"] == "danet"
    assert card.training["base"]["name"] == "base"
    assert sorted(card.training["base"]["parts"]) == ["gauge", "parser"]
    untrained, trained = (
        models.load(folder / name)[1]["derainer"].state_dict() for name in ("base", "danet")
    )
    assert any(not torch.equal(value, trained[name]) for name, value in untrained.items())


def test_it_is_scored_on_pairs(folder, tmp_path):
    rainy = np.random.default_rng(0).integers(0, 256, (72, 96, 3), np.uint8)
    for part in ("rain", "clean"):
        (tmp_path / "pairs" / part).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "pairs" / part / "a.png"), rainy if part == "rain" else rainy // 2)
    words = [
        "--pairs",
        tmp_path / "pairs",
        "--model",
        folder / "danet",
        "--json",
        tmp_path / "f.json",
    ]
    assert cli.main(["evaluate", "restoration", *map(str, words)]) == 0
    result = json.loads((tmp_path / "f.json").read_text())
    assert result["model"] == "danet" and result["rows"][0]["psnr_y_db"] > 0


def test_the_engine_derains_and_parses_a_frame_with_it(folder):
    settings = EngineSettings(model=str(folder / "danet"), device="cpu", gate=False)
    frame = Frame(0, "camera", np.random.default_rng(0).integers(0, 256, (72, 96, 3), np.uint8))
    scene = Engine.load(settings).process(frame)
    assert (scene.mode, scene.fault) == (Mode.LOOP, "") and not np.array_equal(scene.image, frame.image)
    assert scene.perception.labels.shape == (72, 96)
