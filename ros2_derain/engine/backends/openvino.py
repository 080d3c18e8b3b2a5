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
from openvino.preprocess import PrePostProcessor
from torch import Tensor

from .graph import GraphError, Options, Port, brief, content, label, ordered

_PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}

_TYPES = {"float32": openvino.Type.f32, "bfloat16": openvino.Type.bf16}

_DTYPES = {
    "bf16": torch.bfloat16,
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
                model = _with_internal(model, options)
            return core.compile_model(model, "CPU", properties)
        except RuntimeError as error:
            raise GraphError(f"OpenVINO cannot compile {label(source)}: {brief(error)}") from error

    internal = frozenset() if options.shapes is None else options.internal
    if options.cache is None:
        return OpenVinoGraph(compiled(), internal)
    identity = {
        "onnx": hashlib.sha256(file).hexdigest(),
        "shapes": options.shapes,
        "properties": properties,
        "internal": sorted(internal),
    }
    origin = {"openvino": openvino.get_version()}
    blob = options.cache.get("openvino graph", identity, origin)
    if blob is not None:
        try:
            return OpenVinoGraph(core.import_model(blob, "CPU", properties), internal)
        except RuntimeError:
            blob = None
    made = compiled()
    options.cache.put("openvino graph", identity, origin, _exported(made))
    return OpenVinoGraph(made, internal)


def _with_internal(model: openvino.Model, options: Options) -> openvino.Model:
    """The model with its internal inputs and outputs channels-last and in its precision.

    Convolutions compute so: a state as planes of float32 would be converted there and back in each frame.
    """
    preparation = PrePostProcessor(model)
    inputs = [(one.node.friendly_name, preparation.input(i)) for i, one in enumerate(model.inputs)]
    outputs = [(_output_name(one), preparation.output(i)) for i, one in enumerate(model.outputs)]
    for name, port in (*inputs, *outputs):
        if name in options.internal:
            port.model().set_layout(openvino.Layout("NCHW"))
            port.tensor().set_layout(openvino.Layout("NHWC")).set_element_type(_TYPES[options.precision])
    return preparation.build()


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
    """See :class:`ros2_derain.engine.backends.Graph`. Inputs and outputs share memory with the tensors.

    Args:
        compiled: the model.
        internal: names of its inputs and outputs that are N x H x W x C.
    """

    def __init__(self, compiled: openvino.CompiledModel, internal: frozenset[str] = frozenset()) -> None:
        self._compiled = compiled
        self._internal = internal
        self.inputs = tuple(self._port(one.node.friendly_name, one) for one in compiled.inputs)
        self.outputs = tuple(self._port(_output_name(one), one) for one in compiled.outputs)
        self._idle: deque[Any] = deque()

    def __call__(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See :class:`ros2_derain.engine.backends.Graph`."""
        given = [
            self._stored(port, tensor).contiguous()
            for port, tensor in zip(self.inputs, ordered(self.inputs, tensors), strict=True)
        ]
        request = self._idle.pop() if self._idle else self._compiled.create_infer_request()
        results: dict[str, Tensor] = {}
        try:
            for index, tensor in enumerate(given):
                request.set_input_tensor(index, _shared(tensor))
            for index, port in enumerate(self.outputs):
                if None not in port.shape:
                    results[port.name] = self._empty(port)
                    request.set_output_tensor(index, _shared(self._stored(port, results[port.name])))
            request.start_async()  # infer() crashed in processes that had freed many graphs
            request.wait()
            for index, port in enumerate(self.outputs):
                if None in port.shape:
                    results[port.name] = torch.from_numpy(np.array(request.get_output_tensor(index).data))
        except RuntimeError as error:
            raise GraphError(f"OpenVINO fails: {brief(error)}") from error
        self._idle.append(request)
        return results

    def _stored(self, port: Port, tensor: Tensor) -> Tensor:
        """The tensor with its axes in the order in which the graph stores them."""
        return tensor.permute(0, 2, 3, 1) if port.name in self._internal else tensor

    def _empty(self, port: Port) -> Tensor:
        layout = torch.channels_last if port.name in self._internal else torch.contiguous_format
        return torch.empty(port.shape, dtype=port.dtype, memory_format=layout)  # type: ignore[arg-type]

    def _port(self, name: str, port: Any) -> Port:
        kind = port.element_type.get_type_name()
        if kind not in _DTYPES:
            raise GraphError(f"the graph's {name} is of type {kind}, which is not supported")
        shape = tuple(None if axis.is_dynamic else axis.get_length() for axis in port.partial_shape)
        if name in self._internal:
            shape = shape[0], shape[3], shape[1], shape[2]
        return Port(name, shape, _DTYPES[kind])


def _shared(tensor: Tensor) -> openvino.Tensor:
    """OpenVINO's tensor on the memory of a contiguous one; NumPy knows no bfloat16."""
    if tensor.dtype == torch.bfloat16:
        numbers = tensor.view(torch.int16).numpy()
        return openvino.Tensor(numbers, openvino.Shape(list(tensor.shape)), openvino.Type.bf16)
    return openvino.Tensor(tensor.numpy(), shared_memory=True)


def _output_name(output: Any) -> str:
    """An output's name in the ONNX file: OpenVINO names the node and keeps the tensor's names beside."""
    result = output.node.friendly_name.removesuffix("/sink_port_0")
    names = output.get_names()
    return result if result in names or not names else output.get_any_name()
