"""From runs to a model folder, by the command."""

from pathlib import Path

import pytest
import torch
from tiny_training import GAUGE, LOOP, train, write_data, write_recipe

from ros2_derain import cli, models
from ros2_derain.learning.checkpoints import read


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """A folder with the runs ``loop`` and ``gauge``."""
    folder = tmp_path_factory.mktemp("runs")
    data = write_data(folder / "data")
    for name, recipe in (("loop", LOOP), ("gauge", GAUGE)):
        path = write_recipe(folder / f"{name}.yaml", {**recipe, "name": name, "steps": 2})
        assert train(path, data, folder / name) == 0
    return folder


def export(*arguments) -> int:
    return cli.main(["export", *map(str, arguments)])


def test_the_averaged_weights_are_exported_with_what_is_known_of_the_runs(runs, tmp_path, capsys):
    out = tmp_path / "models" / "mine"
    assert export(runs / "loop", runs / "gauge", "--out", out) == 0
    card, modules = models.load(out)
    assert card.name == "mine" and f"sha256 {card.sha256[:16]}" in capsys.readouterr().out
    averaged = read(runs / "loop/last.ckpt")["state_dict"]
    for name, value in modules["derainer"].state_dict().items():
        assert torch.equal(value, averaged[f"derainer.{name}"].half().to(value.dtype)), name
    assert [run["recipe"]["name"] for run in card.training["runs"]] == ["loop", "gauge"]
    assert card.training["data"]["camvid/train"].startswith("CC BY-NC")
    assert card.training["runs"][0]["steps"] == 2 and "research use only" in card.training["licence"]
    assert [path.name for path in out.parent.iterdir()] == ["mine"]


def test_what_no_run_trained_comes_from_the_base(runs, tmp_path, capsys):
    out, base = tmp_path / "better", tmp_path / "base"
    assert export(runs / "loop", "--out", out) == 2
    assert (
        "no run trained the gauge: name a run of each task, or a model by --base" in capsys.readouterr().err
    )
    assert not out.exists()
    assert export(runs / "loop", runs / "gauge", "--out", base) == 0
    assert export(runs / "loop", "--base", base, "--out", out) == 0
    card, _ = models.load(out)
    origin = card.training["base"]
    assert origin["parts"] == ["gauge"] and origin["sha256"] == models.read_card(base).sha256
    assert [line.split(", ")[0] for line in origin["runs"]] == ["loop: 2 steps", "gauge: 2 steps"]
    again = tmp_path / "again"
    assert export(runs / "gauge", "--base", out, "--out", again) == 0
    nested = models.read_card(again).training
    assert [line.split(":")[0] for line in nested["base"]["runs"]] == ["loop", "loop", "gauge"]
    assert nested["data"] == card.training["data"]


def test_a_part_becomes_the_mean_of_two_runs(runs, tmp_path, capsys):
    data = runs / "data"
    other = write_recipe(tmp_path / "other.yaml", {**LOOP, "name": "other", "steps": 1, "seed": 2})
    assert train(other, data, tmp_path / "other") == 0
    out, mean = tmp_path / "mine", f"parser={tmp_path / 'other'}"
    assert export(runs / "loop", runs / "gauge", "--mean", mean, "--out", out) == 0
    card, modules = models.load(out)
    first, second = (read(run / "last.ckpt")["state_dict"] for run in (runs / "loop", tmp_path / "other"))
    for name, value in modules["parser"].named_parameters():
        expected = (first[f"parser.{name}"] + second[f"parser.{name}"]) / 2
        assert torch.equal(value, expected.half().float()), name
    for name, value in modules["derainer"].named_parameters():
        assert torch.equal(value, first[f"derainer.{name}"].half().float()), name
    (entry,) = card.training["means"]
    assert entry["part"] == "parser" and entry["with"].startswith("other: 1 steps, ")
    capsys.readouterr()
    assert export(runs / "gauge", "--mean", mean, "--out", out) == 2
    assert "none of the runs trained a parser" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        export(runs / "loop", "--mean", "wheels", "--out", out)
    assert "'wheels': expected PART=RUN" in capsys.readouterr().err


def test_what_was_measured_stays_while_the_weights_stay(runs, tmp_path):
    out = tmp_path / "mine"
    assert export(runs / "loop", runs / "gauge", "--out", out) == 0
    models.write_card(out, models.ModelCard(**models.read_card(out).__dict__ | {"results": {"set": 1}}))
    assert export(runs / "loop", runs / "gauge", "--out", out) == 0
    assert models.read_card(out).results == {"set": 1}
    card, modules = models.load(out)
    with torch.no_grad():
        modules["gauge"].rain.read[-1].bias.add_(1)
    models.save(out, card, modules)
    assert export(runs / "loop", runs / "gauge", "--out", out) == 0
    assert models.read_card(out).results == {}


def test_what_cannot_be_exported_is_named(runs, tmp_path, capsys, rainy_model):
    assert export(tmp_path, "--out", tmp_path / "m") == 2
    assert "last.ckpt is missing: is" in capsys.readouterr().err
    assert export(runs / "loop", "--base", rainy_model, "--out", tmp_path / "m") == 2
    assert "has other classes: sky, road, car; runs have sky, building" in capsys.readouterr().err
    checkpoint = read(runs / "gauge/last.ckpt")
    checkpoint["state_dict"]["gauge.rain.read.0.bias"][0] = 1e6
    torch.save(checkpoint, tmp_path / "last.ckpt")
    assert export(runs / "loop", tmp_path, "--out", tmp_path / "m") == 2
    assert "gauge.rain.read.0.bias holds values that float16 cannot represent" in capsys.readouterr().err
    assert not (tmp_path / "m").exists()
