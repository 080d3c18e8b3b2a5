"""ONNX files as strangers export them, for tests: of operators written down, or of tiny torch modules."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Shape = Sequence[int | str]

TYPES = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8, "int64": TensorProto.INT64}


def constant(
    path: Path,
    outputs: Mapping[str, np.ndarray],
    shape: Shape = (1, 3, 320, 320),
    dtype: str = "float32",
    size_input: str = "",
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """A network that returns the same arrays for every image."""
    nodes = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(values))
        for name, values in outputs.items()
    ]
    inputs = [helper.make_tensor_value_info("image", TYPES[dtype], shape)]
    if size_input:
        inputs.append(helper.make_tensor_value_info(size_input, TensorProto.INT64, (1, 2)))
    found = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(values.dtype), values.shape)
        for name, values in outputs.items()
    ]
    return save(path, nodes, inputs, found, metadata=metadata)


def mixer(
    path: Path,
    weights: np.ndarray,
    bias: np.ndarray,
    shape: Shape = (1, 3, "h", "w"),
    *,
    dtype: str = "float32",
    is_last: bool = False,
    after: Sequence[onnx.NodeProto] = (),
    output: tuple[str, int, Shape] = ("out", TensorProto.FLOAT, (1, "k", "h", "w")),
) -> Path:
    """A network whose every output channel is a weighted sum of the pixel's three, plus a bias.

    Args:
        weights: K x 3; bias: K.
        shape: of the input; ``is_last`` where its channels come last.
        after: what becomes of the tensor ``mixed``; by default it is the output.
        output: name, type and shape.
    """
    nodes, name = [], "image"
    if dtype == "uint8":
        nodes.append(helper.make_node("Cast", [name], ["float"], to=TensorProto.FLOAT))
        name = "float"
    if is_last:
        nodes.append(helper.make_node("Transpose", [name], ["first"], perm=[0, 3, 1, 2]))
        name = "first"
    target = "mixed" if after else output[0]
    nodes += [helper.make_node("Conv", [name, "weights", "bias"], [target]), *after]
    tensors = {"weights": weights[:, :, None, None], "bias": bias}
    initial = [numpy_helper.from_array(values.astype(np.float32), key) for key, values in tensors.items()]
    inputs = [helper.make_tensor_value_info("image", TYPES[dtype], shape)]
    return save(path, nodes, inputs, [helper.make_tensor_value_info(*output)], initial)


def save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence,
    outputs: Sequence,
    initializers: Sequence[TensorProto] = (),
    *,
    opset: int = 17,
    metadata: Mapping[str, str] | None = None,
    domains: Sequence[str] = (),
) -> Path:
    """Write the graph, in opset 17 and the version of the format that goes with it."""
    graph = helper.make_graph(nodes, "stranger", inputs, outputs, initializers)
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    helper.set_model_props(model, dict(metadata or {}))
    onnx.save(model, str(path))
    return path
