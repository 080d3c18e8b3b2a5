"""Graphs run by ONNX Runtime: on a CPU, with CUDA, or with TensorRT in front of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from torch import Tensor

from .graph import GraphError, Options, Port, Shapes, brief, content, label, ordered

_DTYPES = {
    "float": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "double": torch.float64,
    "bool": torch.bool,
    "int8": torch.int8,
    "int16": torch.int16,
    "int32": torch.int32,
    "int64": torch.int64,
    "uint8": torch.uint8,
}

_ELEMENT_TYPES = {
    torch.float32: 1,
    torch.uint8: 2,
    torch.int8: 3,
    torch.int16: 5,
    torch.int32: 6,
    torch.int64: 7,
    torch.bool: 9,
    torch.float16: 10,
    torch.float64: 11,
    torch.bfloat16: 16,
}
"""Numbers of TensorProto.DataType in ONNX."""


def compile_graph(source: Path | bytes, options: Options) -> OnnxRuntimeGraph:
    """See :func:`ros2_derain.engine.backends.compile_graph`."""
    file = content(source)
    providers = _providers(file, options)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = max(1, options.threads // options.streams)
    settings.log_severity_level = 3
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(file, settings, providers)
    except Exception as error:  # ONNX Runtime has a class for each status, all of them plain exceptions
        raise GraphError(f"ONNX Runtime cannot load {label(source)}: {brief(error)}") from error
    if session.get_providers()[0] != providers[0][0]:
        raise GraphError(
            f"runtime {options.runtime} on {options.device} does not start: {providers[0][0]} failed; "
            "install the CUDA and TensorRT libraries that onnxruntime-gpu names, or choose another runtime"
        )
    return OnnxRuntimeGraph(session, options.device)


def _providers(file: bytes, options: Options) -> list[tuple[str, dict[str, Any]]]:
    """TensorRT, CUDA and CPU, as far as they are asked for, with their options."""
    runtime, device, cache = options.runtime, options.device, options.cache
    if device.type == "cpu":
        if runtime == "tensorrt":
            raise GraphError("runtime tensorrt needs a CUDA device: use openvino or onnxruntime on the CPU")
        if options.precision != "float32":
            raise GraphError(
                f"runtime onnxruntime computes in float32 on the CPU, not in {options.precision}"
            )
        return [("CPUExecutionProvider", {})]
    number = {"device_id": str(device.index or 0)}
    providers = [("CUDAExecutionProvider", number), ("CPUExecutionProvider", {})]
    if runtime == "tensorrt":
        tensorrt = {**number, "trt_fp16_enable": str(int(options.precision == "float16"))}
        if options.shapes is not None:
            tensorrt |= {
                "trt_profile_min_shapes": _profile(options.shapes, 1),
                "trt_profile_opt_shapes": _profile(options.shapes, options.batch),
                "trt_profile_max_shapes": _profile(options.shapes, options.batch),
            }
        if cache is not None:
            folder = cache.folder / "tensorrt" / hashlib.sha256(file).hexdigest()[:16]
            tensorrt |= {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(folder)}
        providers.insert(0, ("TensorrtExecutionProvider", tensorrt))
    missing = providers[0][0]
    if missing not in onnxruntime.get_available_providers():
        raise GraphError(
            f"runtime {runtime} on {device} needs {missing}, which this ONNX Runtime lacks: "
            "pip uninstall onnxruntime, then pip install onnxruntime-gpu"
        )
    return providers


def _profile(shapes: Shapes, batch: int) -> str:
    """Shapes as TensorRT's provider takes them, for a number of images."""
    return ",".join(f"{name}:{'x'.join(map(str, (batch, *shape[1:])))}" for name, shape in shapes.items())


class OnnxRuntimeGraph:
    """See :class:`ros2_derain.engine.backends.Graph`. Inputs and outputs are bound where the tensors are.

    Args:
        session: of the graph.
        device: of the tensors.
    """

    def __init__(self, session: onnxruntime.InferenceSession, device: torch.device) -> None:
        self._session, self._device = session, device
        self.inputs = tuple(_port(one) for one in session.get_inputs())
        self.outputs = tuple(_port(one) for one in session.get_outputs())
        self._shapes: dict[tuple, list[tuple[int, ...]]] = {}
        self._varies = False

    def __call__(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See :class:`ros2_derain.engine.backends.Graph`."""
        given = [tensor.contiguous() for tensor in ordered(self.inputs, tensors)]
        binding = self._session.io_binding()
        for port, tensor in zip(self.inputs, given, strict=True):
            binding.bind_input(port.name, *self._place(tensor))
        key = tuple(tuple(tensor.shape) for tensor in given)
        known = self._shapes.get(key)
        results: dict[str, Tensor] = {}
        for index, port in enumerate(self.outputs):
            if known is None:
                binding.bind_output(port.name, "cpu")
            else:
                results[port.name] = torch.empty(known[index], dtype=port.dtype, device=self._device)
                binding.bind_output(port.name, *self._place(results[port.name]))
        try:
            self._run(binding)
        except GraphError:
            if known is None:
                raise
            self._varies = True  # as the number of boxes does after suppression
            self._shapes.clear()
            return self(tensors)
        if known is None:
            found = binding.copy_outputs_to_cpu()
            if not self._varies:
                self._shapes[key] = [array.shape for array in found]
            for port, array in zip(self.outputs, found, strict=True):
                results[port.name] = torch.from_numpy(array).to(self._device)
        return results

    def _run(self, binding: onnxruntime.IOBinding) -> None:
        if self._device.type == "cuda":
            torch.cuda.current_stream(self._device).synchronize()  # its own stream runs the graph
        try:
            self._session.run_with_iobinding(binding)
        except Exception as error:  # see compile_graph
            raise GraphError(f"ONNX Runtime fails: {brief(error)}") from error

    def _place(self, tensor: Tensor) -> tuple[str, int, int, tuple[int, ...], int]:
        """Where a tensor is, as a binding takes it."""
        index = self._device.index or 0
        return self._device.type, index, _ELEMENT_TYPES[tensor.dtype], tuple(tensor.shape), tensor.data_ptr()


def _port(argument: Any) -> Port:
    kind = argument.type.removeprefix("tensor(").removesuffix(")")
    if kind not in _DTYPES:
        raise GraphError(f"the graph's {argument.name} is of type {argument.type}, which is not supported")
    shape = tuple(axis if isinstance(axis, int) else None for axis in argument.shape)
    return Port(argument.name, shape, _DTYPES[kind])
