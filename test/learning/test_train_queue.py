"""A queue of recipes: each run starts from the one before; stopped and resumed by the same command."""

import json

import pytest
import torch
import yaml
from tiny_training import GAUGE, LOOP, train, write_data, write_recipe

from ros2_derain import cli
from ros2_derain.learning.checkpoints import read


@pytest.fixture
def folder(tmp_path):
    """With data and the list ``queue.yaml`` of two recipes beside it."""
    write_data(tmp_path / "data")
    for name, steps in (("first", 1), ("second", 2)):
        write_recipe(tmp_path / f"{name}.yaml", GAUGE, name=name, steps=steps, averaging=0)
    (tmp_path / "queue.yaml").write_text("[first.yaml, second.yaml]")
    return tmp_path


def run(folder, *options) -> int:
    queue = ["--queue", folder / "queue.yaml", "--data", folder / "data", "--out", folder / "out"]
    return cli.main(["train", *map(str, queue), "--workers", "1", *options])


def progress(folder) -> list[tuple]:
    rows = json.loads((folder / "out/progress.json").read_text())["runs"]
    return [(row["run"], row["steps"], row["of"]) for row in rows]


def test_each_run_starts_from_the_one_before(folder):
    assert run(folder) == 0
    assert progress(folder) == [("1-first", 1, 1), ("2-second", 2, 2)]
    record = yaml.safe_load((folder / "out/2-second/run.yaml").read_text())
    assert record["recipe"]["init"] == {"gauge": str(folder / "out/1-first")}
    assert [origin["recipe"] for origin in record["started_from"]["gauge"]] == ["first"]


def test_the_same_command_resumes_it(folder, capsys):
    assert run(folder, "--minutes", "0.00001") == 0  # over after the first step
    assert progress(folder) == [("1-first", 1, 1), ("2-second", 0, 2)]
    first = read(folder / "out/1-first/last.ckpt")["state_dict"]
    assert run(folder) == 0
    assert progress(folder) == [("1-first", 1, 1), ("2-second", 2, 2)]
    after = read(folder / "out/1-first/last.ckpt")["state_dict"]
    assert all(torch.equal(value, after[key]) for key, value in first.items())


@pytest.mark.parametrize(
    "text, said",
    [
        ("first.yaml", "expected a list of recipes, such as [derain, my.yaml]"),
        ("[]", "expected a list of recipes"),
        ("[third]", "recipe third is missing"),
        ("[", "queue.yaml cannot be read"),
    ],
)
def test_a_wrong_queue_is_named(folder, capsys, text, said):
    (folder / "queue.yaml").write_text(text)
    assert run(folder) == 2 and said in capsys.readouterr().err


def test_a_recipe_or_a_queue_is_needed(folder, capsys):
    assert cli.main(["train"]) == 2
    assert "No recipe: give the name of one, or a list of them with --queue." in capsys.readouterr().err
    assert run(folder, "--resume") == 2
    assert "--queue resumes by itself" in capsys.readouterr().err


@pytest.mark.parametrize(
    "task, loss",
    [("restore", {"charbonnier": 1, "edge": 0.05}), ("derain", {"refined": 0, "plain": 1, "error": 0.05})],
)
def test_a_compiled_run_has_the_same_weights_by_name_and_value(folder, task, loss):
    shared = {
        "task": task,
        "networks": {"derainer": {"network": "loopnet", "options": {"widths": [8, 8, 8, 8], "state": 4}}},
        "loss": loss,
        "precision": "fp32",
        "steps": 2,
    }
    states = {}
    for name, compiled in (("plain", False), ("compiled", True)):
        path = write_recipe(folder / f"{name}.yaml", LOOP, **shared, compile=compiled)
        assert train(path, folder / "data", folder / name) == 0
        states[name] = read(folder / name / "last.ckpt")["state_dict"]
    assert states["plain"].keys() == states["compiled"].keys()
    for key, value in states["plain"].items():
        assert torch.allclose(value, states["compiled"][key], atol=1e-4), key


def test_a_part_starts_from_the_last_run_that_trained_it(folder):
    write_recipe(folder / "between.yaml", LOOP, name="between", steps=1)
    (folder / "queue.yaml").write_text("[first.yaml, between.yaml, second.yaml]")
    assert run(folder) == 0
    record = yaml.safe_load((folder / "out/3-second/run.yaml").read_text())
    assert record["recipe"]["init"] == {"gauge": str(folder / "out/1-first")}


def test_missing_data_of_a_later_recipe_is_named_before_the_first_run(folder, capsys):
    parted = {"kind": "boxes", "folder": "nowhere", "options": {"file": "found.csv", "min_score": 0.4}}
    write_recipe(folder / "second.yaml", GAUGE, name="second", sources={"a": 1}, datasets={"a": parted})
    assert run(folder) == 2
    said = capsys.readouterr().err
    assert "recipe second: " in said and str(folder / "data/nowhere") in said
    assert not (folder / "out").exists()
