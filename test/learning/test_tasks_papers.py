"""The recipes of the five papers: each trains, each part of its loss is what its paper prints."""

import csv

import pytest
import tiny_model
import torch
import yaml
from tiny_training import train, write_data

from ros2_derain.learning import losses, recipe_files
from ros2_derain.learning.checkpoints import LAST, read
from ros2_derain.learning.tasks import TASKS
from ros2_derain.learning.tasks.papers import Restored, RestoreTask
from ros2_derain.networks.danet import DanetRestoration
from ros2_derain.networks.phpnet import PhpRestoration

PAPERS = ("sapnet", "mspfn", "danet", "phpnet", "ubcn")
PARTS = {
    "sapnet": {"ssim": 1, "focal": 0.1, "contrast": 0.1, "perceptual": 0.1},
    "mspfn": {"charbonnier": 1, "edge": 0.05},
    "danet": {"charbonnier": 1, "ssim": 0.15, "half": 1, "half_ssim": 0.15},
    "phpnet": {"charbonnier": 1, "low_frequency": 1, "colour": 0.1, "semantic": 0.05},
    "ubcn": {
        "coarse": 1,
        "refined": 10,
        "derained_semantic": 1,
        "clean_semantic": 1,
        "adversarial": 1e-3,
        "discrimination": 1,
    },
}


def tiny_recipe(path, name: str, **changed):
    """A shipped recipe with narrow networks, small clips and two steps."""
    data = yaml.safe_load(recipe_files.find(name).read_text())
    paper = name.removesuffix("_light")
    networks = {"derainer": {"network": paper, "options": {**tiny_model.PAPERS[paper]}}}
    if paper == "ubcn":
        networks["derainer"]["options"]["classes"] = 11
        networks["parser"] = data["networks"]["parser"]
        if networks["parser"] == "scene_parser":
            networks["parser"] = {"network": "scene_parser", "options": {"widths": [8, 8, 8, 8]}}
        else:
            networks["parser"]["options"] = {"name": "light"}
    clips = {**data["clips"], "height": 64, "width": 64, "rains": 2}
    data |= {"networks": networks, "clips": clips, "steps": 2, "batch": 1, "log_every": 1, "streaks": {}}
    data["optimiser"] = {**data["optimiser"], "warm_up": 0}
    if "milestones" in data["optimiser"]:
        data["optimiser"]["milestones"] = [1]
    data.pop("init", None)
    path.write_text(yaml.safe_dump({**data, **changed}))
    return path


@pytest.mark.parametrize("name", [f"{paper}{size}" for paper in PAPERS for size in ("", "_light")])
def test_every_recipe_trains(tmp_path, name):
    data = write_data(tmp_path / "data")
    path = tiny_recipe(tmp_path / "r.yaml", name, options={"focal_from": 0.5} if "sapnet" in name else {})
    assert train(path, data, tmp_path / "run") == 0
    rows = list(csv.DictReader((tmp_path / "run/metrics.csv").open()))
    logged = {key.removeprefix("train/") for key in rows[-1] if key.startswith("train/") and rows[-1][key]}
    assert logged - {"objects"} == set(PARTS[name.removesuffix("_light")])
    if "sapnet" in name:
        assert not rows[0].get("train/focal"), "the focal loss counts from half the run on"
    before = recipe_files.load(path)
    torch.manual_seed(before.seed)
    fresh = before.networks["derainer"].create().state_dict()
    trained = read(tmp_path / "run" / LAST)["state_dict"]
    assert any(not torch.equal(value, trained[f"derainer.{key}"]) for key, value in fresh.items())


@pytest.mark.parametrize("name", PAPERS)
def test_weights_are_the_papers(name):
    chosen = recipe_files.load(recipe_files.find(name))
    assert {part: weight for part, weight in chosen.loss.items() if weight} == PARTS[name]
    assert chosen.optimiser.weight_decay == 0


@pytest.fixture
def restore(tmp_path):
    """A RestoreTask of a shipped recipe, with a narrow network."""
    return lambda name: RestoreTask(recipe_files.load(tiny_recipe(tmp_path / "r.yaml", name)), [1] * 11)


@pytest.fixture
def images():
    torch.manual_seed(0)
    clean = torch.rand(1, 3, 64, 64)
    return (clean + 0.05 * torch.randn_like(clean)).clamp(0, 1), clean, (clean + 0.3).clamp(0, 1)


def parts_of(task, attempt) -> dict[str, float]:
    from ros2_derain.learning.tasks.papers import PARTS as known

    with torch.no_grad():
        return {name: float(known[name](task, attempt)) for name in task.parts}


def test_danet_holds_the_half_size_to_the_half_size_target(restore, images):
    derained, clean, rain = images
    half = torch.nn.functional.avg_pool2d(clean, 2)
    parts = parts_of(restore("danet"), Restored(DanetRestoration(derained, half), rain, clean, None))
    assert parts["half"] == pytest.approx(1e-3, rel=1e-3) and parts["half_ssim"] == pytest.approx(0, abs=1e-5)
    assert parts["charbonnier"] == pytest.approx(float(losses.charbonnier(derained, clean)))
    assert parts["ssim"] == pytest.approx(float(losses.ssim(derained, clean)))


def test_php_holds_the_coarse_image_to_the_low_pass_and_the_refined_one_to_the_clean(restore, images):
    coarse, clean, refined = images
    labels = torch.zeros(1, 64, 64, dtype=torch.uint8)
    task = restore("phpnet")
    parts = parts_of(task, Restored(PhpRestoration(refined, coarse), refined, clean, labels))
    assert parts["low_frequency"] == pytest.approx(float(losses.low_frequency(coarse, clean)))
    assert parts["charbonnier"] == pytest.approx(float(losses.charbonnier(refined, clean)))
    assert parts["colour"] == pytest.approx(float(losses.colour(coarse, clean)))
    assert parts["semantic"] == pytest.approx(float(losses.segmentation(task.segmenter(coarse), labels)))


def test_a_part_of_another_network_is_refused(tmp_path, capsys):
    path = tiny_recipe(tmp_path / "r.yaml", "mspfn", loss={"half": 1})
    assert train(path, write_data(tmp_path / "data"), tmp_path / "run") == 2
    assert "loss: half is for danet, not mspfn" in capsys.readouterr().err


def test_ubcn_without_feature_level_deraining_has_no_second_parser(tmp_path):
    path = tiny_recipe(tmp_path / "r.yaml", "ubcn_light", loss={"adversarial": 0})
    task = TASKS["ubcn"](recipe_files.load(path), [1] * 11)
    assert task.clean_parser is None and task.discriminator is None


def test_ubcn_s_absolute_error_counts_both_images(tmp_path):
    path = tiny_recipe(tmp_path / "r.yaml", "ubcn_light", loss={"absolute": 1, "adversarial": 0})
    assert train(path, write_data(tmp_path / "data"), tmp_path / "run") == 0
    row = next(csv.DictReader((tmp_path / "run/metrics.csv").open()))
    coarse, refined, absolute = (float(row[f"train/{part}"]) for part in ("coarse", "refined", "absolute"))
    assert 0 < absolute < coarse**0.5 + refined**0.5 + 4e-3, (
        "no mean of errors is above the root of its squares'"
    )


def test_ubcn_holds_the_batch_statistics_of_a_parser_that_was_trained_before(tmp_path):
    data, runs = write_data(tmp_path / "data"), (tmp_path / "first", tmp_path / "second")
    for run, init in zip(runs, ({}, {"parser": str(runs[0])}), strict=True):
        assert train(tiny_recipe(tmp_path / "r.yaml", "ubcn_light", init=init), data, run) == 0
    first, second = (read(run / LAST)["current_model_state"] for run in runs)
    begun = {key: value for key, value in read(runs[0] / LAST)["state_dict"].items() if "running" in key}
    held = [key for key, value in second.items() if key in begun and torch.equal(value, begun[key])]
    assert sorted(held) == sorted(key for key in begun if not key.startswith("clean_parser."))
    assert any(not torch.equal(value, begun[key]) for key, value in first.items() if key in begun)
