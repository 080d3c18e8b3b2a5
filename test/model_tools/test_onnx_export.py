"""Models as ONNX files, by the command that a user types."""

import json

import numpy as np
import pytest
import tiny_model

from ros2_derain import cli
from ros2_derain.data.images import write_image

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

SIZE = "96x64"


def exported(model, out, *words) -> dict:
    words = ["models", "export", model, out, "--json", *words]
    assert cli.main([str(word) for word in words]) == 0
    return json.loads((out / "export.json").read_text())


def metadata(file) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load(str(file)).metadata_props}


@pytest.mark.parametrize("network", ["loopnet", *tiny_model.PAPERS])
def test_every_network_agrees_with_torch_on_every_runtime(network, tmp_path):
    folder = tiny_model.write(tmp_path / network, network=network)
    found = exported(folder, tmp_path / "onnx", "--size", SIZE)
    assert {"gauge.onnx", "parse.onnx", "derain.onnx"} <= {
        file.name for file in (tmp_path / "onnx").iterdir()
    }
    compared = [row for row in found["rows"] if row["runtime"] != "torch"]
    assert compared and all(row["milliseconds"] > 0 and "error" not in row for row in compared)
    assert max(row["largest_difference"] for row in compared) < 2e-4
    assert all(row["equal_labels"] == 1 for row in compared if row["graph"] == "parse")


def test_the_shipped_model_states_classes_hash_state_and_prior(tmp_path):
    found = exported("loopnet", tmp_path / "onnx", "--size", SIZE)
    stated = metadata(tmp_path / "onnx/parse.onnx")
    assert json.loads(stated["classes"])[:2] == ["sky", "building"] and stated["sha256"] == found["sha256"]
    graph = onnx.load(str(tmp_path / "onnx/derain.onnx")).graph
    assert {port.name for port in graph.input} == {"rain", "state", "prior"}
    assert {"image", "next_state"} <= {port.name for port in graph.output}


def test_one_file_serves_every_size(tmp_path):
    folder = tiny_model.write(tmp_path / "tiny")
    image = np.random.default_rng(0).integers(0, 256, (75, 101, 3), np.uint8)
    write_image(tmp_path / "image.png", image)
    found = exported(folder, tmp_path / "onnx", "--dynamic", "--check", tmp_path / "image.png")
    assert found["size"] == [101, 75]
    assert all("error" not in row for row in found["rows"])
    parse = onnx.load(str(tmp_path / "onnx/parse.onnx")).graph.input[0].type.tensor_type.shape
    assert [side.dim_value for side in parse.dim] == [0, 3, 0, 0]


def test_build_fills_the_cache_and_writes_nothing_else(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = tiny_model.write(tmp_path / "tiny")
    assert cli.main(["models", "export", str(folder), "--build", "--size", SIZE]) == 0
    assert "tiny: ready for 96x64" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


@pytest.mark.parametrize(
    "words, said",
    [
        (["--opset", "5"], "opset"),
        (["--check", "nosuch.png"], "nosuch.png"),
    ],
)
def test_what_cannot_be_exported_leaves_nothing(words, said, tmp_path, capsys):
    folder = tiny_model.write(tmp_path / "tiny")
    assert cli.main(["models", "export", str(folder), str(tmp_path / "onnx"), "--size", SIZE, *words]) == 2
    assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]
