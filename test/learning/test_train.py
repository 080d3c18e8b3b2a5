"""The training command, as a user runs it: recipe, run, resume, export."""

import json
from dataclasses import replace

import pytest
import yaml

from ros2_derain import models
from ros2_derain.learning import recipe
from ros2_derain.learning.errors import LearningError
from ros2_derain.learning.export import export
from ros2_derain.learning.train import run

TINY = {
    "name": "tiny",
    "derainer": {"widths": [8, 8, 8], "state": 4},
    "parser": {"widths": [8, 8, 8, 8]},
    "gauge": {"width": 4},
    "sources": {"camvid": 1.0, "photographs": 1.0},
    "clips": {"height": 64, "width": 64, "storms": 2},
    "batch": 2,
    "steps": 4,
}


@pytest.mark.parametrize(
    "text, said",
    [
        ("nmae: x", "unknown key nmae; known: name"),
        ("clips: {hight: 3}", "clips: unknown key hight"),
        ("- a", "not a mapping"),
    ],
)
def test_a_wrong_recipe_is_named(tmp_path, text, said):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(LearningError, match=said):
        recipe.load(path)


def test_a_missing_recipe_is_named(tmp_path):
    with pytest.raises(LearningError, match="nowhere.yaml is missing"):
        recipe.load(tmp_path / "nowhere.yaml")


def test_train_resume_and_export(data_dir, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(TINY))
    tiny = recipe.load(path)
    loop, gauge = tmp_path / "loop", tmp_path / "gauge"
    run(tiny, data_dir, loop, steps=2)
    first = (loop / "last.ckpt").stat().st_mtime_ns
    run(tiny, data_dir, loop, resume=loop / "last.ckpt")
    assert (loop / "last.ckpt").stat().st_mtime_ns > first
    assert json.loads((loop / "recipe.json").read_text())["clips"]["storms"] == 2
    with pytest.raises(LearningError, match="no run trained the gauge"):
        export([loop], tmp_path / "half")
    run(replace(tiny, task="gauge"), data_dir, gauge)
    card = export([loop, gauge], tmp_path / "tiny")
    loaded, modules = models.load(tmp_path / "tiny")
    assert loaded.name == "tiny" and loaded.sha256 == card.sha256
    assert [recipe["steps_done"] for recipe in loaded.training["recipes"]] == [4, 4]
    assert set(modules) == {"derainer", "parser", "gauge"}


def test_an_unknown_source_is_named(data_dir, tmp_path):
    wrong = recipe.Recipe(sources={"kitti": 1.0})
    with pytest.raises(LearningError, match="unknown source kitti; known: camvid"):
        run(wrong, data_dir, tmp_path / "run", steps=1)


def test_an_unknown_task_is_named(data_dir, tmp_path):
    with pytest.raises(LearningError, match="unknown task paint; known: loop, gauge"):
        run(recipe.Recipe(task="paint"), data_dir, tmp_path / "run", steps=1)
