"""Graphs agree with the networks that they were made of, at any size and for several images."""

import numpy as np
import pytest
import tiny_model
import torch

from ros2_derain import networks
from ros2_derain.networks import onnx_export

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

SIZES = [(75, 101), (96, 160), (64, 64)]

PARTS = [
    ("gauge", *tiny_model.OPTIONS["gauge"]),
    ("parser", *tiny_model.OPTIONS["parser"]),
    ("parser", "ubcn_segmenter", {"classes": 3, "name": "light"}),
    ("parser", "ubcn_segmenter", {"classes": 3, "name": "pspnet50"}),
    ("derainer", *tiny_model.OPTIONS["derainer"]),
    *(("derainer", network, options) for network, options in tiny_model.PAPERS.items()),
]


def network_of(network: str, options: dict) -> torch.nn.Module:
    torch.manual_seed(0)
    return networks.create(network, **options).eval()


def run(file: bytes, inputs: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    used = {one.name: inputs[one.name].numpy() for one in session.get_inputs()}
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, used), strict=True))


@pytest.mark.parametrize("part, network, options", PARTS)
def test_graphs_of_any_size_agree_with_the_network(part, network, options):
    module = network_of(network, options)
    for name in onnx_export.graph_names(part, module):
        file = onnx_export.export(module, name)
        onnx.checker.check_model(onnx.load_from_string(file), full_check=True)
        for size in SIZES:
            one = onnx_export.example(module, name, *size)
            inputs = {key: torch.cat((tensor, tensor.flip(-1))) for key, tensor in one.items()}
            with torch.no_grad():
                expected = onnx_export.outputs(module, name, inputs)
            found = run(file, inputs)
            assert list(found) == list(expected)
            for output in found:
                assert found[output].shape == expected[output].shape
                assert np.abs(found[output] - expected[output].numpy()).max() < 1e-4, (name, output, size)


def test_a_graph_of_one_size_has_fixed_shapes():
    module = network_of(*tiny_model.OPTIONS["derainer"])
    file = onnx_export.export(module, "once", (70, 90))
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    shapes = {one.name: one.shape for one in (*session.get_inputs(), *session.get_outputs())}
    assert shapes["rain"] == shapes["image"] == [1, 3, 70, 90]
    assert shapes["prior"] == [1, 3, 9, 12] and shapes["state"] == shapes["next_state"] == [1, 4, 40, 48]


def test_half_precision_weights_give_a_half_precision_graph():
    module = network_of(*tiny_model.OPTIONS["derainer"])
    files = [onnx_export.export(module, "once", dtype=dtype) for dtype in (torch.float32, torch.float16)]
    types = [
        {one.name: one.type for one in onnxruntime.InferenceSession(file).get_inputs()} for file in files
    ]
    assert len(files[1]) < 0.8 * len(files[0])
    assert types[1] == types[0] | {"state": "tensor(float16)", "prior": "tensor(float16)"}


def test_an_old_opset_is_refused():
    with pytest.raises(onnx_export.ExportError, match="gauge of WeatherGauge has no ONNX graph: .*[Oo]pset"):
        onnx_export.export(network_of(*tiny_model.OPTIONS["gauge"]), "gauge", opset=7)
