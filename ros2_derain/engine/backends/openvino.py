"""Graphs compiled by OpenVINO for the CPU."""

from __future__ import annotations

import hashlib
import io
from collections import deque
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import torch
from torch import Tensor

from .graph import GraphError, Options, Port, brief, content, label, ordered

_PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}

_DTYPES = {
    "f32": torch.float32,
    "f16": torch.float16,
    "f64": torch.float64,
    "boolean": torch.bool,
    "i8": torch.int8,
    "i16": torch.int16,
    "i32": torch.int32,
    "i64": torch.int64,
    "u8": torch.uint8,
}


def compile_graph(source: Path | bytes, options: Options) -> OpenVinoGraph:
    """See :func:`ros2_derain.engine.backends.compile_graph`."""
    if options.device.type != "cpu":
        raise GraphError(
            f"runtime openvino runs on the CPU, not on {options.device}: use tensorrt or onnxruntime"
        )
    if options.precision not in _PRECISIONS:
        raise GraphError(
            f"runtime openvino computes in float32 or bfloat16 on the CPU, not in {options.precision}"
        )
    file, core = content(source), _core()
    properties = {
        "PERFORMANCE_HINT": "LATENCY" if options.streams == 1 else "THROUGHPUT",
        "NUM_STREAMS": str(options.streams),
        "INFERENCE_NUM_THREADS": str(options.threads),
        "INFERENCE_PRECISION_HINT": _PRECISIONS[options.precision],
        "ENABLE_CPU_PINNING": "NO",  # other threads and processes need the cores as well
    }

    def compiled() -> openvino.CompiledModel:
        try:
            model = core.read_model(file)
            if options.shapes is not None:
                names = [one.node.friendly_name for one in model.inputs]
                model.reshape({name: options.shapes[name] for name in names})
            return core.compile_model(model, "CPU", properties)
        except RuntimeError as error:
            raise GraphError(f"OpenVINO cannot compile {label(source)}: {brief(error)}") from error

    if options.cache is None:
        return OpenVinoGraph(compiled())
    identity = {"onnx": hashlib.sha256(file).hexdigest(), "shapes": options.shapes, "properties": properties}
    origin = {"openvino": openvino.get_version()}
    blob = options.cache.get("openvino graph", identity, origin)
    if blob is not None:
        try:
            return OpenVinoGraph(core.import_model(blob, "CPU", properties))
        except RuntimeError:
            blob = None
    made = compiled()
    options.cache.put("openvino graph", identity, origin, _exported(made))
    return OpenVinoGraph(made)


@cache
def _core() -> openvino.Core:
    """The one of this process, which is never unloaded.

    A core gives the thread that loads its CPU plugin a stack for signal handlers. Where a second core is
    unloaded after the first, it puts the first one's stack back, which is gone: the next Ctrl-C would be a
    segmentation fault.
    """
    return openvino.Core()


def _exported(compiled: openvino.CompiledModel) -> bytes:
    blob = compiled.export_model()
    return blob.getvalue() if isinstance(blob, io.BytesIO) else bytes(blob)


class OpenVinoGraph:
    """See :class:`ros2_derain.engine.backends.Graph`. Inputs and outputs share memory with the tensors."""

    def __init__(self, compiled: openvino.CompiledModel) -> None:
        self._compiled = compiled
        self.inputs = tuple(_port(one.node.friendly_name, one) for one in compiled.inputs)
        self.outputs = tuple(_port(_output_name(one), one) for one in compiled.outputs)
        self._idle: deque[Any] = deque()

    def __call__(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See :class:`ros2_derain.engine.backends.Graph`."""
        arrays = [tensor.contiguous().numpy() for tensor in ordered(self.inputs, tensors)]
        request = self._idle.pop() if self._idle else self._compiled.create_infer_request()
        results: dict[str, Tensor] = {}
        try:
            for index, array in enumerate(arrays):
                request.set_input_tensor(index, openvino.Tensor(array, shared_memory=True))
            for index, port in enumerate(self.outputs):
                if None not in port.shape:
                    results[port.name] = torch.empty(port.shape, dtype=port.dtype)  # type: ignore[arg-type]
                    shared = openvino.Tensor(results[port.name].numpy(), shared_memory=True)
                    request.set_output_tensor(index, shared)
            request.start_async()  # infer() crashed in processes that had freed many graphs
            request.wait()
            for index, port in enumerate(self.outputs):
                if None in port.shape:
                    results[port.name] = torch.from_numpy(np.array(request.get_output_tensor(index).data))
        except RuntimeError as error:
            raise GraphError(f"OpenVINO fails: {brief(error)}") from error
        self._idle.append(request)
        return results


def _port(name: str, port: Any) -> Port:
    kind = port.element_type.get_type_name()
    if kind not in _DTYPES:
        raise GraphError(f"the graph's {name} is of type {kind}, which is not supported")
    shape = tuple(None if axis.is_dynamic else axis.get_length() for axis in port.partial_shape)
    return Port(name, shape, _DTYPES[kind])


def _output_name(output: Any) -> str:
    """An output's name in the ONNX file: OpenVINO names the node and keeps the tensor's names beside."""
    result = output.node.friendly_name.removesuffix("/sink_port_0")
    names = output.get_names()
    return result if result in names or not names else output.get_any_name()
