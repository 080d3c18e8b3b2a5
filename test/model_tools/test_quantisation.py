"""``ros2-derain models quantise``: the parser's graph in int8, and model folders that have it."""

import json
import sys

import numpy as np
import pytest
import tiny_model

from ros2_derain import cli, models, resources
from ros2_derain.engine import Engine, EngineSettings, Frame
from ros2_derain.model_tools import quantisation
from ros2_derain.networks import onnx_export

pytest.importorskip("onnx")


def scenes(model, runtime: str) -> list:
    rng = np.random.default_rng(0)
    settings = EngineSettings(model=str(model), runtime=runtime, precision="float32", score_threshold=0.0)
    engine = Engine.load(settings)
    images = (rng.integers(0, 256, (70, 101, 3), np.uint8) for _ in range(2))
    return [engine.process(Frame(40_000_000 * index, "camera", image)) for index, image in enumerate(images)]


@pytest.mark.parametrize("below", [0, 160])
@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_a_parser_that_is_a_graph_gives_what_the_network_does(tmp_path, runtime, below):
    pytest.importorskip(runtime)
    network, options = tiny_model.OPTIONS["parser"]
    original = tiny_model.write(tmp_path / "original", parser=(network, {**options, "enlarged_below": below}))
    card, modules = models.load(original)
    parser = modules.pop("parser")
    made = tmp_path / "mine"
    made.mkdir()
    written = quantisation.write(made, card, modules, onnx_export.export(parser, "parse"), {"images": 1})
    assert written.digest != card.digest and "parser" not in written.networks
    for found, expected in zip(scenes(made, runtime), scenes(original, "torch"), strict=True):
        assert found.fault == "" and (found.perception.labels == expected.perception.labels).mean() > 0.999
        assert len(found.perception.detections) == len(expected.perception.detections)
    (made / quantisation.FILE).write_bytes(b"another")
    with pytest.raises(models.ModelError, match=r"parser\.onnx"):
        Engine.load(EngineSettings(model=str(made)))


def test_a_parser_is_quantised_on_images(rainy_model, tmp_path, capsys):
    pytest.importorskip("nncf")
    out = tmp_path / "int8"
    command = [
        "models",
        "quantise",
        rainy_model,
        "--images",
        str(resources.path("samples/highway")),
        "--number",
        "5",
    ]
    assert cli.main([*command, "--size", "160x90", "--out", str(out), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {row["graph"] for row in rows} == {"parse", "parse int8"} and not any("error" in r for r in rows)
    assert b"QuantizeLinear" in (out / quantisation.FILE).read_bytes()
    assert all(scene.perception is not None for scene in scenes(out, "openvino"))


def test_what_is_missing_is_named_and_nothing_is_written(rainy_model, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "nncf", None)
    out = tmp_path / "int8"
    command = ["models", "quantise", rainy_model, "--out", str(out), "--images"]
    assert cli.main([*command, str(resources.path("samples/highway"))]) == 2
    assert "pip install 'ros2_derain[quantisation]'" in capsys.readouterr().err
    assert cli.main([*command, str(tmp_path)]) == 2
    assert "holds no image" in capsys.readouterr().err
    assert not out.exists()
