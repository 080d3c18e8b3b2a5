"""Recipes: what is wrong in one is named, with its file; schedules; the shipped ones."""

import pytest
import torch
from tiny_training import GAUGE, LOOP, train, write_data, write_recipe

from ros2_derain import resources
from ros2_derain.learning.recipe import Optimiser, changes
from ros2_derain.learning.recipe_files import find, load, parse
from ros2_derain.learning.tasks import TASKS, base


@pytest.mark.parametrize(
    "changed, said",
    [
        ({"nmae": "x"}, "unknown key nmae; known: name, task, seed"),
        ({"task": "paint"}, "unknown task paint; known: "),
        ({"steps": "many"}, "steps is 'many': must be a valid integer"),
        ({"steps": 0}, "steps is 0: must be greater than or equal to 1"),
        ({"steps": 0, "batch": 0}, "batch is 0: must be greater than or equal to 1"),
        ({"batch": True}, "batch is True: must be a valid integer"),
        ({"averaging": 1}, "averaging is 1: must be less than 1"),
        ({"precision": "int8"}, "precision is 'int8': must be 'auto', 'bf16' or 'fp32'"),
        ({"clips": {"hight": 3}}, "clips: unknown key hight; known: height"),
        ({"clips": [1]}, "clips is [1]: must be a mapping"),
        ({"optimiser": {"name": "lion"}}, "optimiser.name is 'lion': must be 'adamw', 'adam' or 'sgd'"),
        (
            {"optimiser": {"learning_rate": -1}},
            "optimiser.learning_rate is -1: must be greater than or equal to 0.00000001",
        ),
        (
            {"optimiser": {"rates": {"gauge": -1}}},
            "optimiser: rates: gauge is -1: must be at least 0 and at most 1",
        ),
        ({"optimiser": {"learning_rate": float("nan")}}, "learning_rate is nan: must be a finite number"),
        ({"optimiser": {"schedule": "step"}}, "optimiser: milestones belong to schedule: step"),
        (
            {"optimiser": {"schedule": "step", "milestones": [3, 2]}},
            "milestones must grow from 1, got [3, 2]",
        ),
        ({"networks": {"gauge": "rain_gauge"}}, "networks: unknown key gauge; known: derainer, parser"),
        ({"networks": {"parser": "resnet"}}, "networks.parser: unknown network resnet; known: danet"),
        ({"networks": {"parser": {"options": {}}}}, "networks.parser: network is missing"),
        ({"loss": {"semantics": 1}}, "loss: unknown key semantics; known: refined"),
        ({"loss": {"semantic": "1 or 2"}}, "loss.semantic is '1 or 2': must be a valid number"),
        ({"options": {"more": 1}}, "options: unknown key more; known: again"),
        ({"sources": {"kitti": 1}}, "sources: unknown key kitti; known: camvid"),
        ({"datasets": {"x": {"kind": "kitti", "folder": "x"}}}, "datasets.x: unknown kind of data"),
        ({"datasets": {"x": {"kind": "voc2012"}}}, "datasets.x: folder is missing"),
        (
            {"datasets": {"x": {"kind": "labelled", "folder": "x", "hold_out": 1}}},
            "datasets.x: hold_out is 1: 0 holds out nothing",
        ),
        ({"sources": {"camvid": 0}}, "sources need weights of at least 0, not all of them 0"),
        ({"init": {"gauge": "loopnet"}}, "init: unknown key gauge; known: derainer, parser"),
        (
            {"task": "gauge", "networks": {}, "compile": True},
            "compile is true, but task gauge has no network to compile",
        ),
        ({"streaks": {"few": {"weight": 0}}}, "streaks.few.weight is 0: must be greater than 0"),
        ({"streaks": {"few": {}}}, "streaks.few: a style has either pairs or patterns"),
        ({"streaks": {"few": {"pairs": {"a": -1}}}}, "streaks.few: a is -1: must be at least 0"),
        ({"clips": {"glass_kinds": ["dome", "mud"]}}, "glass_kinds has mud: give some of windscreen, few"),
        ({"clips": {"glass_kinds": []}}, "glass_kinds has none: give some of windscreen, few"),
        ({"clips": {"height": 384}}, "height is 384: rain is rendered on at most 352 rows"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, capsys, changed, said):
    path = write_recipe(tmp_path / "recipe.yaml", LOOP, **changed)
    assert train(path, tmp_path, tmp_path / "run") == 2
    error = capsys.readouterr().err
    assert f"ros2-derain train: {path}: " in error and said in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "text, said",
    [("- a", "is ['a']: must be a mapping"), ("a: [", "cannot be read"), ("", "is None: must be")],
)
def test_what_is_no_recipe_is_named(tmp_path, capsys, text, said):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    assert train(path, tmp_path, tmp_path / "run") == 2
    assert said in capsys.readouterr().err
    assert train(tmp_path / "nowhere.yaml", tmp_path, tmp_path / "run") == 2
    assert "nowhere.yaml is missing: give a YAML file, or one of" in capsys.readouterr().err


def test_a_networks_option_is_checked_by_the_network(tmp_path, capsys):
    wrong = {"gauge": {"network": "weather_gauge", "options": {"w": 1}}}
    path = write_recipe(tmp_path / "r.yaml", GAUGE, networks=wrong)
    assert train(path, write_data(tmp_path / "data"), tmp_path / "run") == 2
    assert "network weather_gauge with options {'w': 1}: " in capsys.readouterr().err


def test_every_shipped_recipe_loads_and_its_plain_data_too():
    shipped = sorted(resources.path("config/recipes").glob("*.yaml"))
    assert shipped
    for path in shipped:
        chosen = load(find(path.stem))
        assert chosen.name == path.stem and parse(chosen.as_dict(), "checkpoint") == chosen


def test_the_recipe_of_an_older_checkpoint_equals_todays(tmp_path):
    path = write_recipe(tmp_path / "r.yaml", LOOP, streaks={"a": 3, "b": 0}, options={"train_parser": 0})
    chosen = load(path)
    older = chosen.as_dict()
    del older["compile"], older["datasets"], older["optimiser"]["rates"]
    older["streaks"] = {"a": 3, "b": 0}
    older["clips"]["storms"] = older["clips"].pop("rains")
    older["options"]["teach_parser"] = older["options"].pop("train_parser")
    assert changes(parse(older, "checkpoint"), chosen) == []
    older["clips"]["storms"] = 3
    assert changes(parse(older, "checkpoint"), chosen) == ["clips.rains: 3 -> 2"]


def test_defaults_are_completed_and_short_forms_spelt_out(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "task: loop\nnetworks: {parser: scene_parser}\ninit: loopnet\noptimiser: {learning_rate: 1e-4}\n"
    )
    recipe = load(path)
    assert recipe.name == "mine" and recipe.optimiser.learning_rate == 1e-4
    assert recipe.init == {"derainer": "loopnet", "parser": "loopnet"}
    assert recipe.networks["derainer"].network == "loopnet" and recipe.loss == TASKS["loop"].LOSS


@pytest.mark.parametrize(
    "settings, expected",
    [
        ({"schedule": "cosine"}, {0: 0.1, 9: 1.0, 10: 1.0, 60: 0.505, 110: 0.01}),
        ({"schedule": "poly"}, {10: 1.0, 60: 0.5**0.9, 110: 0.0}),
        ({"schedule": "step", "milestones": (20, 40), "factor": 0.5}, {19: 1.0, 20: 0.5, 40: 0.25}),
        ({"schedule": "constant"}, {4: 0.5, 10: 1.0, 500: 1.0}),
    ],
)
def test_schedules_by_hand(settings, expected):
    chosen = Optimiser(warm_up=10, **settings)
    assert {step: base.rate_factor(chosen, 110, step) for step in expected} == pytest.approx(expected)


@pytest.mark.parametrize("name, kind", [("adamw", "AdamW"), ("adam", "Adam"), ("sgd", "SGD")])
def test_optimisers_train_what_is_not_frozen(tmp_path, name, kind):
    path = write_recipe(
        tmp_path / "r.yaml", GAUGE, optimiser={"name": name, "weight_decay": 0.5, "warm_up": 4}
    )
    layer = torch.nn.Linear(2, 2)
    layer.bias.requires_grad_(False)
    made = base.configure_optimiser(load(path), layer)
    (group,) = made["optimizer"].param_groups
    assert type(made["optimizer"]).__name__ == kind and group["weight_decay"] == 0.5
    assert len(group["params"]) == 1 and group["lr"] == pytest.approx(1e-3 / 4)


def test_a_part_may_learn_more_slowly(tmp_path, capsys):
    settings = {"learning_rate": 0.01, "warm_up": 0, "rates": {"1": 0.1}}
    path = write_recipe(tmp_path / "r.yaml", GAUGE, optimiser=settings)
    two = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 3))
    made = base.configure_optimiser(load(path), two)
    fast, slow = made["optimizer"].param_groups
    assert [weight.shape[0] for weight in fast["params"]] == [2, 2] and fast["lr"] == pytest.approx(0.01)
    assert [weight.shape[0] for weight in slow["params"]] == [3, 3] and slow["lr"] == pytest.approx(0.001)
    path = write_recipe(tmp_path / "r.yaml", GAUGE, optimiser={**settings, "rates": {"1": 0}})
    (only,) = base.configure_optimiser(load(path), two)["optimizer"].param_groups
    assert [weight.shape[0] for weight in only["params"]] == [2, 2], "a part at 0 stays as it is"
    assert train(path, write_data(tmp_path / "data"), tmp_path / "run") == 2
    assert "optimiser: rates: no part 1 is trained; known: gauge" in capsys.readouterr().err
