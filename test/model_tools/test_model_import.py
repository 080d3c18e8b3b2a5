"""``ros2-derain models import``: checkpoints become model folders, or are refused with the reason."""

import json
import pickle

import pytest
import tiny_model
import torch
from safetensors.torch import save_file

from ros2_derain import cli, models, networks
from ros2_derain.model_tools import checkpoint_import
from ros2_derain.models import ModelError

GATES = {"conv_i": "input_gate", "conv_f": "forget_gate", "conv_g": "candidate", "conv_o": "output_gate"}


@pytest.fixture
def base(tmp_path):
    return tiny_model.write(tmp_path / "base")


@pytest.fixture
def sapnet() -> dict[str, torch.Tensor]:
    """Weights of the paper's SAPNet."""
    torch.manual_seed(1)
    return networks.create("sapnet").state_dict()


def as_released(weights: dict, order=("head", "blocks", "gates", "tail")) -> dict:
    """In the authors' layout: other names, the gates as convolutions of their own, in nn.DataParallel."""
    groups: dict[str, dict] = {"head": {}, "blocks": {}, "gates": {}, "tail": {}}
    for index, (name, tensor) in enumerate(weights.items()):
        part, kind = name.split(".", 1)[0], name.rsplit(".", 1)[-1]
        gate = next((theirs for theirs, ours in GATES.items() if part == ours), None)
        if gate:
            groups["gates"][f"module.{gate}.0.{kind}"] = tensor
        else:
            groups[part][f"module.conv{index}.{kind}"] = tensor
    return {name: tensor for group in order for name, tensor in groups[group].items()}


def run(file, base, out, *options) -> int:
    return cli.main(["models", "import", str(file), "--base", str(base), "--out", str(out), *options])


def imported(folder) -> dict[str, torch.Tensor]:
    return models.load(folder, ("derainer",))[1]["derainer"].state_dict()


def assert_same(found: dict, expected: dict) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor.half().float(), msg=name)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_own_names_are_assigned_by_name(tmp_path, base, sapnet, capsys, suffix):
    file = tmp_path / f"weights.{suffix}"
    (save_file if suffix == "safetensors" else torch.save)(sapnet, file)
    assert run(file, base, tmp_path / "out", "--network", "sapnet", "--json") == 0
    output = json.loads(capsys.readouterr().out)
    assert output["mapped"] == "by name" and len(output["tensors"]) == len(sapnet)
    assert {row["from"] == row["to"] for row in output["tensors"]} == {True}
    assert_same(imported(tmp_path / "out"), sapnet)
    card, parts = models.load(tmp_path / "out")
    assert card.classes == tiny_model.CLASSES and set(parts) == set(models.PARTS)
    assert card.training["imported"]["file"] == file.name


@pytest.mark.parametrize("order", [("head", "blocks", "gates", "tail"), ("head", "gates", "blocks", "tail")])
def test_the_authors_layout_is_assigned_by_order_and_its_gates_by_name(tmp_path, base, sapnet, capsys, order):
    torch.save({"epoch": 3, "state_dict": as_released(sapnet, order)}, tmp_path / "net.pth")
    assert run(tmp_path / "net.pth", base, tmp_path / "out", "--network", "sapnet") == 0
    output = capsys.readouterr().out
    assert "conv_f.0.weight" in output and "->  forget_gate.weight  32x64x3x3" in output
    assert f"{len(sapnet)} tensors by order" in output
    assert_same(imported(tmp_path / "out"), sapnet)


def changed(weights: dict, **changes) -> dict:
    """The weights with changes; None removes a tensor."""
    changes = {name.replace("__", "."): tensor for name, tensor in changes.items()}
    return {name: t for name, t in (weights | changes).items() if t is not None}


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"tail__bias": None}, "it lacks tail.bias"),
        ({"tail__scale": torch.ones(3)}, "it has unknown tail.scale"),
        ({"tail__weight": torch.ones(1, 32, 3, 3)}, "tail.weight 1x32x3x3 for tail.weight 3x32x3x3"),
        ({"tail__bias": torch.full((3,), 1e6)}, "tail.bias holds values that float16"),
    ],
)
def test_mismatching_tensors_are_named(tmp_path, base, sapnet, capsys, changes, message):
    torch.save(changed(sapnet, **changes), tmp_path / "net.pth")
    assert run(tmp_path / "net.pth", base, tmp_path / "out", "--network", "sapnet") == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_weights_of_another_network_are_refused(sapnet):
    phpnet = networks.create("phpnet", **tiny_model.PAPERS["phpnet"])
    with pytest.raises(ModelError, match="not the weights of this phpnet: .* no place for"):
        checkpoint_import.assign(as_released(sapnet), phpnet, "phpnet")
    before = {name: tensor.clone() for name, tensor in phpnet.state_dict().items()}
    foreign = {f"layer{i}": tensor.flatten() for i, tensor in enumerate(before.values())}
    with pytest.raises(ModelError, match="other shapes of layer0 .* for derain"):
        checkpoint_import.assign(foreign, phpnet, "phpnet")
    assert all(torch.equal(tensor, before[name]) for name, tensor in phpnet.state_dict().items())


class Trap:
    """Would write a file when unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_no_code_in_a_checkpoint_is_run(tmp_path, base, capsys):
    file, trace = tmp_path / "net.pth", tmp_path / "trace"
    torch.save({"state_dict": Trap(trace)}, file)
    assert run(file, base, tmp_path / "out", "--network", "sapnet") == 2
    assert "holds more than tensors" in capsys.readouterr().err and not trace.exists()


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "is broken or not a checkpoint"),
        (b"no checkpoint at all", "checkpoint"),
        (pickle.dumps([1, 2]), "checkpoint"),
    ],
)
def test_a_broken_checkpoint_is_reported_in_one_line(tmp_path, base, capsys, content, message):
    (tmp_path / "net.pth").write_bytes(content)
    assert run(tmp_path / "net.pth", base, tmp_path / "out", "--network", "danet") == 2
    error = capsys.readouterr().err
    assert message in error and "net.pth" in error and error.count("\n") == 1


def test_missing_file_unknown_variant_and_existing_folder_are_reported(tmp_path, base, capsys):
    for out, options, message in (
        ("out", ["--network", "danet"], "nowhere.pth cannot be read"),
        (
            "out",
            ["--network", "danet", "--variant", "huge"],
            "no variant named 'huge'; known: danet, diamond",
        ),
        ("base", ["--network", "danet"], "exists: name another folder"),
    ):
        assert run(tmp_path / "nowhere.pth", base, tmp_path / out, *options) == 2
        assert message in capsys.readouterr().err


def test_sizes_equal_those_of_the_papers(capsys):
    from ros2_derain.model_tools.sizes import row

    sapnet = row("sapnet", "paper")
    assert sapnet["parameters_m"] == pytest.approx(0.180483, abs=1e-9)
    assert sapnet["gmac"] == pytest.approx(265.0, rel=0.01)
